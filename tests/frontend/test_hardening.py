"""What an impatient person, a full disk and a changed file do to the page."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, Route, expect
from tests.frontend.conftest import NewContext, choose_profile, open_page, until, wait_for_video
from tests.frontend.site import Api, Site
from tests.frontend.test_errors import fill_clip, problem
from tests.frontend.test_uploads import PARTS, READY, begin

FORBIDDEN = """if (origin !== 'null') {
    const refuse = () => new DOMException('forbidden', 'SecurityError');
    for (const name of ['localStorage', 'sessionStorage', 'indexedDB']) {
        Object.defineProperty(window, name, { get() { throw refuse(); } });
    }
    navigator.locks.query = navigator.locks.request = () => Promise.reject(refuse());
}"""
FULL = """Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };"""


def held_parts(tab: Page) -> list[Route]:
    held: list[Route] = []
    tab.route(PARTS, lambda route: held.append(route))
    return held


@pytest.mark.parametrize("storage", [FORBIDDEN, FULL], ids=["forbidden", "full"])
def test_a_browser_that_keeps_nothing_still_uploads_and_cuts(
    contexts: NewContext, api: Api, site: Site, long_video: Path, storage: str
) -> None:
    context = contexts()
    context.add_init_script(storage)
    tab = open_page(context, site)
    tab.get_by_test_id("profile-name").fill("Main")
    tab.get_by_test_id("create-profile").click()
    begin(tab, long_video)
    expect(tab.locator(READY)).to_be_visible()
    fill_clip(tab)
    tab.get_by_test_id("clip-create").click()
    expect(tab.get_by_test_id("clip-item")).to_be_visible()
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    expect(tab.locator("#forgetful")).to_contain_text("does not keep")


def test_a_browser_of_a_few_years_ago_uploads_in_parts(context: BrowserContext, tab: Page, long_video: Path) -> None:
    """Safari before 17.4 and Firefox before 124 have no AbortSignal.any, Safari 15 no AbortSignal.timeout."""
    context.add_init_script("delete AbortSignal.any; delete AbortSignal.timeout")
    tab.reload()
    tab.get_by_test_id("upload-file").set_input_files(long_video)
    tab.get_by_test_id("upload-start").click()
    expect(tab.locator('[data-status="ready"]')).to_be_visible()
    assert tab.evaluate("[AbortSignal.any, AbortSignal.timeout].every(one => one === undefined)")


@pytest.mark.parametrize("lacks", ["delete window.HTMLDialogElement", "delete Array.prototype.at"])
@pytest.mark.parametrize("reads_the_scripts", [True, False])
def test_a_browser_that_is_too_old_is_told_so(
    contexts: NewContext, site: Site, lacks: str, reads_the_scripts: bool
) -> None:
    context = contexts()
    context.add_init_script(lacks)
    if not reads_the_scripts:
        context.route("**/store.js", lambda route: route.fulfill(body="old browser", content_type="text/plain"))
    tab = open_page(context, site, ready=False)
    tab.wait_for_load_state("networkidle")
    expect(tab.locator("#starting")).to_be_visible()
    expect(tab.locator("#starting")).to_contain_text("This browser is too old for this page.")


def test_a_file_that_was_changed_on_the_way_is_named_and_not_waited_for(
    tab: Page, api: Api, long_video: Path, tmp_path: Path
) -> None:
    file = tmp_path / "match.mp4"
    shutil.copy(long_video, file)
    held = held_parts(tab)
    begin(tab, file)
    until(tab, held)
    with file.open("ab") as more:
        more.write(b"more")
    tab.unroute(PARTS)  # which sends on what waited
    expect(tab.get_by_test_id("error-banner")).to_contain_text("can no longer be read")
    expect(tab.locator("#upload-state")).to_be_hidden()
    expect(tab.get_by_test_id("upload-start")).to_be_enabled()


def test_a_double_click_on_try_again_carries_a_change_out_once(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    api.upload(video)
    tab = open_page(context, site)
    fill_clip(tab)
    context.route("**/api/clips", problem(500, site.page))
    tab.get_by_test_id("clip-create").click()
    expect(tab.get_by_test_id("error-again")).to_be_visible()
    context.unroute("**/api/clips")
    tab.get_by_test_id("error-again").evaluate("button => { button.click(); button.click(); }")
    expect(tab.get_by_test_id("clip-item")).to_have_count(1)
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    assert len(api.call("GET", "/api/clips")["clips"]) == 1


def test_the_next_file_that_was_chosen_during_an_upload_stays_chosen(tab: Page, video: Path, long_video: Path) -> None:
    held = held_parts(tab)
    begin(tab, long_video)
    until(tab, held)
    expect(tab.get_by_test_id("upload-name")).to_have_value("")
    tab.get_by_test_id("upload-file").set_input_files(video)
    tab.get_by_test_id("upload-name").fill("Next")
    tab.unroute(PARTS)  # which sends on what waited
    expect(tab.locator(READY)).to_be_visible()
    expect(tab.get_by_test_id("upload-name")).to_have_value("Next")
    assert tab.get_by_test_id("upload-file").evaluate("field => field.files.length") == 1


def test_a_server_that_is_replaced_at_the_end_of_an_upload_costs_seconds(
    tab: Page, site: Site, long_video: Path
) -> None:
    tab.route("**/finalize-upload", problem(502, site.page))
    begin(tab, long_video)
    expect(tab.get_by_test_id("upload-text")).to_contain_text("Waiting: the server has a problem")
    tab.unroute("**/finalize-upload")
    expect(tab.locator(READY)).to_be_visible()
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_deleting_the_game_that_is_being_sent_ends_its_upload(tab: Page, api: Api, long_video: Path) -> None:
    held = held_parts(tab)
    begin(tab, long_video)
    until(tab, held)
    tab.get_by_role("button", name="Delete Match").click()
    tab.get_by_test_id("delete-yes").click()
    expect(tab.get_by_test_id("game-item")).to_have_count(0)
    expect(tab.locator("#upload-state")).to_be_hidden()
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    assert api.call("GET", "/api/games")["games"] == []


def test_a_tab_that_sends_a_file_asks_before_it_closes(tab: Page, long_video: Path) -> None:
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    tab.on("dialog", stay)
    held = held_parts(tab)
    begin(tab, long_video)
    until(tab, held)
    tab.reload()
    assert asked == ["beforeunload"]


def test_the_question_about_one_game_never_becomes_one_about_another(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    api.upload(video, "Keep me")
    api.upload(video, "Lose me")
    tab = open_page(context, site)
    expect(tab.get_by_test_id("game-item")).to_have_count(2)
    held: list[Route] = []

    def hold_two(route: Route) -> None:
        if len(held) < 2:
            held.append(route)
        else:
            route.continue_()

    tab.route("**/api/clips", hold_two)
    # What a deletion changes is asked for first; the answer for the first game comes after the click on the second.
    tab.get_by_role("button", name="Delete Keep me").click()
    until(tab, held)
    tab.get_by_role("button", name="Delete Lose me").click()
    until(tab, held, 2)
    held[1].continue_()
    expect(tab.locator("#delete-title")).to_contain_text("Lose me")
    held[0].continue_()
    tab.get_by_test_id("delete-yes").click()
    expect(tab.get_by_test_id("game-item")).to_have_count(1)
    expect(tab.locator("#delete-dialog")).to_be_hidden()
    assert [game["name"] for game in api.call("GET", "/api/games")["games"]] == ["Keep me"]


def test_a_list_that_is_drawn_while_a_button_in_it_is_pressed_does_not_lose_the_click(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    api.upload(video)
    tab = open_page(context, site)
    wait_for_video(tab)  # from here on nothing moves the button away from the pointer
    tab.get_by_role("button", name="Delete Match").hover()
    tab.mouse.down()
    api.upload(video, "Other")
    tab.evaluate("import('/store.js').then(({load}) => load())")
    expect(tab.get_by_test_id("game-item")).to_have_count(1)
    tab.mouse.up()
    expect(tab.locator("#delete-title")).to_contain_text("Match")
    expect(tab.get_by_test_id("game-item")).to_have_count(2)


def test_items_that_did_not_change_are_not_laid_out_again(tab: Page, api: Api, video: Path) -> None:
    game = api.upload(video)
    first, second = (api.clip(game, name) for name in ("First", "Second"))
    tab.reload()
    # All lists are there: a game that came later would change the items of its clips.
    expect(tab.locator("#environment")).to_be_visible()
    expect(tab.get_by_test_id("clip-item")).to_have_count(2)
    tab.evaluate("for (const item of document.querySelectorAll('[data-testid=clip-item]')) item.seen = true")
    api.call("PATCH", f"/api/clips/{first}", {"name": "Renamed"})
    tab.evaluate("import('/store.js').then(({ load }) => load())")
    expect(tab.get_by_test_id("clip-item").last).to_contain_text("Renamed")
    items = tab.get_by_test_id("clip-item")
    assert items.evaluate_all("items => items.filter(item => item.seen).map(item => item.dataset.id)") == [second]


def test_a_list_that_is_drawn_under_a_question_gets_the_focus_back(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    api.upload(video)
    tab = open_page(context, site)
    tab.get_by_role("button", name="Delete Match").press("Enter")
    expect(tab.get_by_role("button", name="Keep it")).to_be_focused()
    tab.evaluate("import('/store.js').then(({load}) => load())")
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("button", name="Delete Match")).to_be_focused()


def test_a_change_in_a_profile_that_another_tab_deleted_says_so_and_goes_on_in_another(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    gone = api.new_profile("Gone")
    api.upload(video)
    api.new_profile("Stays")
    tab = open_page(context, site)
    choose_profile(tab, gone)
    expect(tab.get_by_test_id("game-item")).to_be_visible()
    tab.get_by_role("button", name="Rename Match").click()
    tab.locator("#rename-name").fill("Cup final")
    api.call("DELETE", f"/api/profiles/{gone}")
    tab.get_by_test_id("rename-yes").click()
    expect(tab).to_have_title("Stays · Reel Ballers")
    expect(tab.locator("#game-empty")).to_be_visible()
    expect(tab.get_by_test_id("error-banner")).to_contain_text("The profile “Gone” was deleted in another tab")


def test_the_lists_say_that_they_load_and_nothing_moves_when_they_have(
    context: BrowserContext, api: Api, site: Site
) -> None:
    api.new_profile()
    held: list[Route] = []
    lists = re.compile(r"/api/(games|clips|projects|exports)$")
    context.route(lists, lambda route: held.append(route))
    tab = open_page(context, site, ready=False)
    expect(tab.locator("#workspace")).to_be_visible()
    expect(tab.locator("#starting")).to_be_hidden()
    for list_ in ("game", "clip", "reel", "export"):
        expect(tab.locator(f"#{list_}-list")).to_have_attribute("aria-busy", "true")
        expect(tab.locator(f"#{list_}-list")).to_be_visible()
    # It is not known yet that there are none.
    for text in ("#order-empty", "#clip-empty", "#export-none", ".nothing p"):
        expect(tab.locator(text)).to_be_hidden()
    # After 6 s, which a busy machine may take until here, a notice says that the server is slow, and moves the rest.
    tab.locator("#waiting").evaluate("notice => { notice.style.display = 'none'; }")
    place = "document.querySelector('.games').getBoundingClientRect().top"
    before = tab.evaluate(place)
    until(tab, held, 4)
    for route in held:
        route.continue_()
    expect(tab.locator("#game-empty")).to_be_visible()
    expect(tab.locator("#order-empty")).to_be_visible()
    assert tab.evaluate(place) == before


def test_a_state_that_only_a_newer_server_knows_is_shown_as_it_is(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    api.upload(video)

    def newer(route: Route) -> None:
        answer = route.fetch()
        games = [{**game, "status": "archived"} for game in answer.json()["games"]]
        route.fulfill(response=answer, json={"games": games})

    context.route("**/api/games", newer)
    tab = open_page(context, site)
    expect(tab.get_by_test_id("game-item")).to_contain_text("archived")
    expect(tab.get_by_test_id("game-item")).not_to_contain_text("not finished")


def page_with_clip(context: BrowserContext, api: Api, site: Site, video: Path) -> Page:
    """The page of a new profile with a game, and a clip of its second second, "Goal", that is ready."""
    api.new_profile()
    clip = api.clip(api.upload(video), "Goal", 1, 2)
    api.call("POST", f"/api/clips/{clip}/extract")
    tab = open_page(context, site)
    expect(tab.locator('[data-testid="clip-item"][data-status="ready"]')).to_be_visible()
    return tab


def test_start_here_in_a_clip_takes_the_time_in_the_game(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    tab = page_with_clip(context, api, site, video)
    tab.get_by_role("button", name="Watch Goal").click()
    expect(tab.locator("#player-title")).to_have_text("Clip: Goal")
    tab.wait_for_function("document.querySelector('video').readyState >= 2")
    tab.locator("#frame-on").click()
    tab.wait_for_function("Math.round(document.querySelector('#player-time').dataset.at * 30) === 1")
    tab.locator("#clip-start-now").click()
    expect(tab.get_by_test_id("clip-start")).to_have_value("1.033")
    # What is shown at a time of the form is the game's frame.
    tab.locator("#clip-start-show").click()
    expect(tab.locator("#player-title")).to_have_text("Match")
    on = "video => !video.seeking && video.readyState >= 2 && Math.floor(video.currentTime * 30)"
    tab.wait_for_function(f"({on})(document.querySelector('video')) === 31")
    # The browser reports the frame after it has shown it.
    tab.wait_for_function("Math.round(document.querySelector('#player-time').dataset.at * 30) === 31")


def test_no_frame_of_the_last_video_is_taken_for_one_of_the_video_that_loads(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    tab = page_with_clip(context, api, site, video)
    shown = "Math.round(document.querySelector('#player-time').dataset.at * 30)"
    tab.wait_for_function("document.querySelector('video').readyState >= 2")
    tab.locator("#frame-on").click()
    tab.wait_for_function(f"{shown} === 1")
    held: list[Route] = []
    tab.route("**/api/storage/url*", lambda route: held.append(route))
    tab.get_by_role("button", name="Watch Goal").click()
    expect(tab.locator("#player-title")).to_have_text("Clip: Goal")
    until(tab, held)
    assert tab.evaluate(shown) == 0
    tab.locator("#clip-start-now").click()
    expect(tab.get_by_test_id("clip-start")).to_have_value("1")
    # A step is not lost: the video begins with that frame.
    tab.locator("#frame-on").click()
    held[0].continue_()
    tab.wait_for_function(f"{shown} === 1")


def test_the_strip_under_the_player_shows_the_clips_and_goes_where_it_is_pressed(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    api.clip(api.upload(video), "Goal", 1, 2)
    tab = open_page(context, site)
    strip = tab.locator("#timeline")
    expect(strip.locator("i")).to_have_count(1)
    tab.wait_for_function("document.querySelector('video').readyState >= 2")
    box = strip.bounding_box()
    assert box is not None
    strip.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    tab.wait_for_function("Math.abs(document.querySelector('#player-time').dataset.at - 1.5) < 0.1")
    shown = tab.locator("#timeline-shown").evaluate("mark => parseFloat(mark.style.left)")
    assert 47 < shown < 53


def test_a_url_that_storage_refuses_after_the_device_slept_is_renewed(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    """The page's clock stands still in sleep, so only storage knows that the URL has expired."""
    api.new_profile()
    api.upload(video)
    asked: list[str] = []
    refused: list[str] = []

    def ask(route: Route) -> None:
        asked.append(route.request.url)
        route.continue_()

    # Not by the URL: within one second the fresh one is the old one, because its time has whole seconds.
    def until_asked_again(route: Route) -> None:
        if len(asked) < 2:
            refused.append(route.request.url)
            route.fulfill(status=403, headers={"Access-Control-Allow-Origin": site.page}, body="expired")
        else:
            route.continue_()

    context.route("**/api/storage/url*", ask)
    context.route(re.compile(r"/source\.mp4"), until_asked_again)
    tab = open_page(context, site)
    tab.wait_for_function("document.querySelector('video').readyState >= 2")
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    assert refused
