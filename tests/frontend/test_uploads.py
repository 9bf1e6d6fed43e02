"""Uploads survive reloads, networks that go away, and URLs that expire."""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Request, Route, expect
from tests.frontend.conftest import open_page, until
from tests.frontend.site import MIB, Api, Site

PARTS = re.compile(r"[?&]part_number=")
READY = '[data-testid="game-item"][data-status="ready"]'


def part_of(asked: Request) -> int:
    return int(parse_qs(urlsplit(asked.url).query)["part_number"][0])


def begin(tab: Page, file: Path, name: str = "Match") -> None:
    tab.get_by_test_id("upload-file").set_input_files(file)
    tab.get_by_test_id("upload-name").fill(name)
    tab.get_by_test_id("upload-start").click()


STORED = """() => {
    const found = Object.entries(localStorage).find(([key]) => key.includes(".upload."));
    return found ? Object.keys(JSON.parse(found[1]).etags).length : 0;
}"""

NOTHING_KEPT = "() => !Object.keys(localStorage).some(key => key.includes('.upload.'))"


def interrupted(tab: Page, file: Path) -> None:
    """An upload whose first part is stored, and then the page is loaded anew."""

    def first_only(route: Route) -> None:
        # The others are under way until the reload.
        if part_of(route.request) == 1:
            route.continue_()

    tab.route(PARTS, first_only)
    begin(tab, file)
    tab.wait_for_function(f"({STORED})() === 1")
    tab.reload()
    # Not before: a request that waits here would be sent on.
    tab.unroute(PARTS)


def test_an_upload_goes_on_after_a_reload_with_the_parts_that_are_missing(tab: Page, long_video: Path) -> None:
    interrupted(tab, long_video)
    expect(tab.get_by_test_id("game-item")).to_contain_text("Upload interrupted · 1 part of it is stored")
    sent: list[int] = []
    tab.on("request", lambda asked: sent.append(part_of(asked)) if "part_number" in asked.url else None)
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Resume the upload of Match").click()
    chooser.value.set_files(long_video)
    expect(tab.locator(READY)).to_be_visible()
    assert sorted(set(sent)) == [2, 3]
    tab.wait_for_function(NOTHING_KEPT)


def test_an_upload_that_is_resumed_without_a_network_waits_for_it(
    context: BrowserContext, tab: Page, long_video: Path
) -> None:
    interrupted(tab, long_video)
    expect(tab.get_by_role("button", name="Resume")).to_be_visible()
    context.set_offline(True)
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Resume").click()
    chooser.value.set_files(long_video)
    expect(tab.get_by_test_id("upload-text")).to_have_text("Waiting for the network")
    context.set_offline(False)
    expect(tab.locator(READY)).to_be_visible()
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_another_file_does_not_go_on_with_it(tab: Page, api: Api, long_video: Path, tmp_path: Path) -> None:
    interrupted(tab, long_video)
    expect(tab.get_by_test_id("game-item")).to_contain_text("interrupted")
    changed = bytearray(long_video.read_bytes())
    changed[len(changed) // 2] ^= 1
    of_same_size = bytes(changed[: MIB // 2]) + b"x" * (len(changed) - MIB // 2)
    for reason, data in (("It has", bytes(changed[:-1])), ("Its content is another one", of_same_size)):
        other = tmp_path / f"other-{len(data)}.mp4"
        other.write_bytes(data)
        tab.get_by_test_id("resume-file").evaluate("field => (field.value = '')")
        with tab.expect_file_chooser() as chooser:
            tab.get_by_role("button", name="Resume the upload of Match").click()
        chooser.value.set_files(other)
        expect(tab.get_by_test_id("error-banner")).to_contain_text(f"This is not the file of “Match”. {reason}")
        # The same file would be refused again.
        expect(tab.get_by_test_id("error-again")).to_be_hidden()
    assert [game["status"] for game in api.call("GET", "/api/games")["games"]] == ["uploading"]
    held: list[Route] = []
    tab.route(PARTS, lambda route: held.append(route))
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Resume the upload of Match").click()
    chooser.value.set_files(long_video)
    expect(tab.locator("#upload-state")).to_be_visible()
    # While the right file is sent, nothing says that it is the wrong one.
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_an_upload_says_that_storage_has_a_problem_and_that_what_arrived_is_kept(
    tab: Page, site: Site, long_video: Path
) -> None:
    tab.clock.install()
    unavailable = "<Error><Code>ServiceUnavailable</Code><Message>Reduce your request rate.</Message></Error>"
    headers = {"Access-Control-Allow-Origin": site.page}
    refused: list[Route] = []

    def refuse(route: Route) -> None:
        refused.append(route)
        route.fulfill(status=503, headers=headers, body=unavailable)

    tab.route(PARTS, refuse)
    begin(tab, long_video)
    until(tab, refused)
    states: list[str | None] = []
    banner = tab.get_by_test_id("error-banner")
    end = time.monotonic() + 60
    while not banner.is_visible():  # six tries take 26 s of the page's clock
        assert time.monotonic() < end, states
        states.append(tab.get_by_test_id("upload-text").text_content())
        tab.clock.run_for(1000)
    assert any((state or "").startswith("Waiting: storage has a problem") for state in states), states
    expect(banner).to_contain_text("Storage (R2) has a problem: 503 ServiceUnavailable")
    expect(banner).to_contain_text("What has arrived is kept")
    tab.unroute(PARTS)
    tab.get_by_test_id("error-again").click()
    expect(tab.locator(READY)).to_be_visible()
    expect(banner).to_be_hidden()


def test_an_upload_that_ended_can_be_resumed_although_the_list_of_games_does_not_load(
    tab: Page, site: Site, long_video: Path
) -> None:
    held: list[Route] = []
    tab.route(PARTS, lambda route: held.append(route))
    begin(tab, long_video)
    expect(tab.get_by_test_id("game-item")).to_contain_text("Uploading")
    tab.route(
        "**/api/games", lambda route: route.fulfill(status=500, headers={"Access-Control-Allow-Origin": site.page})
    )
    until(tab, held)
    held[0].fulfill(status=400, headers={"Access-Control-Allow-Origin": site.page})
    expect(tab.get_by_test_id("error-banner")).to_contain_text("Storage refused the upload: 400")
    expect(tab.get_by_role("button", name="Resume the upload of Match")).to_be_visible()


def test_an_upload_whose_game_was_deleted_elsewhere_says_so(tab: Page, api: Api, long_video: Path) -> None:
    held: list[Route] = []
    tab.route(PARTS, lambda route: held.append(route))
    begin(tab, long_video)
    expect(tab.get_by_test_id("game-item")).to_contain_text("Uploading")
    (game,) = api.call("GET", "/api/games")["games"]
    api.call("DELETE", f"/api/games/{game['id']}")
    tab.unroute(PARTS)  # which sends on what waited
    expect(tab.get_by_test_id("error-banner")).to_contain_text(
        "“Match” was deleted in another tab or on another device"
    )
    expect(tab.get_by_test_id("error-again")).to_be_hidden()
    expect(tab.get_by_test_id("game-item")).to_have_count(0)
    expect(tab.locator("#upload-state")).to_be_hidden()


def test_it_says_that_it_waits_for_the_network_and_goes_on(
    context: BrowserContext, tab: Page, long_video: Path
) -> None:
    held: list[Route] = []
    tab.route(PARTS, lambda route: held.append(route))
    begin(tab, long_video)
    until(tab, held)
    context.set_offline(True)
    tab.unroute(PARTS)
    expect(tab.get_by_test_id("upload-text")).to_contain_text("Waiting for the network")
    expect(tab.locator('#upload-state[data-state="waiting"]')).to_be_visible()
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    context.set_offline(False)
    expect(tab.locator(READY)).to_be_visible()
    expect(tab.locator("#upload-state")).to_be_hidden()


def test_a_url_that_expired_is_renewed_on_the_way(tab: Page, site: Site, long_video: Path) -> None:
    refused: list[str] = []

    def expire(route: Route) -> None:
        if part_of(route.request) == 2 and not refused:
            refused.append(route.request.url)
            body = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
            route.fulfill(status=403, headers={"Access-Control-Allow-Origin": site.page}, body=body)
        else:
            route.continue_()

    tab.route(PARTS, expire)
    with tab.expect_response("**/upload-urls") as renewed:
        begin(tab, long_video)
    assert renewed.value.status == 200
    expect(tab.locator(READY)).to_be_visible()


def test_urls_are_renewed_before_they_expire(tab: Page, long_video: Path) -> None:
    def short_lived(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "expires_in": 0})

    tab.route("**/prepare-upload", short_lived)
    with tab.expect_response("**/upload-urls"):
        begin(tab, long_video)
    expect(tab.locator(READY)).to_be_visible()


def test_a_bucket_without_its_cors_rule_is_named_and_not_waited_for(tab: Page, long_video: Path) -> None:
    def strangers_only(route: Route) -> None:
        if route.request.method in ("PUT", "OPTIONS"):
            route.abort()
        else:
            route.continue_()

    tab.route(re.compile(r"/source\.mp4"), strangers_only)
    begin(tab, long_video)
    expect(tab.locator('#error-banner[data-cause="cors"]')).to_contain_text("CORS rule of the bucket")
    tab.unroute(re.compile(r"/source\.mp4"))
    tab.get_by_test_id("error-again").click()
    expect(tab.locator(READY)).to_have_count(1)
    expect(tab.get_by_test_id("game-item")).to_have_count(1)


def test_a_network_that_changes_while_the_page_asks_for_the_cause_does_not_end_an_upload(
    tab: Page, site: Site, long_video: Path
) -> None:
    lost: list[str] = []

    def lose(route: Route) -> None:
        asked = route.request
        # The last request of the upload, and then the first request that asks whether CORS refuses it.
        wanted = "/api/profiles" if lost else "/finalize-upload"
        if len(lost) < 2 and asked.url.endswith(wanted) and "x-user-id" in asked.headers:
            lost.append(asked.url)
            route.abort("connectionreset")
        else:
            route.continue_()

    tab.route(f"{site.api}/**", lose)
    begin(tab, long_video)
    expect(tab.locator(READY)).to_be_visible()
    assert len(lost) == 2
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_another_tab_does_not_offer_to_resume_what_is_being_sent(
    context: BrowserContext, tab: Page, site: Site, long_video: Path
) -> None:
    held: list[Route] = []
    tab.route(PARTS, lambda route: held.append(route))
    begin(tab, long_video)
    until(tab, held)
    other = open_page(context, site)
    expect(other.get_by_test_id("game-item")).to_contain_text("Another tab is uploading it")
    expect(other.get_by_role("button", name="Resume")).to_have_count(0)
    tab.unroute(PARTS)
    expect(tab.locator(READY)).to_be_visible()


def test_an_upload_stays_in_the_profile_in_which_it_began(tab: Page, api: Api, long_video: Path) -> None:
    first = api.profile
    second = api.call("POST", "/api/profiles", {"name": "Second"})["id"]
    tab.reload()
    held: list[Route] = []
    tab.route(PARTS, lambda route: held.append(route))
    begin(tab, long_video)
    until(tab, held)
    tab.get_by_test_id("profile-select").select_option(second)
    expect(tab.locator("#game-empty")).to_be_visible()
    tab.unroute(PARTS)
    expect(tab.locator("#upload-state")).to_be_hidden()
    assert [game["status"] for game in api.call("GET", "/api/games")["games"]] == ["ready"]
    expect(tab.get_by_test_id("game-item")).to_have_count(0)
    tab.get_by_test_id("profile-select").select_option(first)
    expect(tab.locator(READY)).to_be_visible()


def test_cancel_removes_what_was_sent(tab: Page, api: Api, long_video: Path) -> None:
    held: list[Route] = []
    tab.route(PARTS, lambda route: held.append(route))
    begin(tab, long_video)
    until(tab, held)
    tab.locator("#upload-cancel").click()
    expect(tab.locator("#delete-title")).to_have_text("Delete the upload of “Match”?")
    tab.get_by_test_id("delete-yes").click()
    expect(tab.locator("#upload-state")).to_be_hidden()
    expect(tab.get_by_test_id("game-item")).to_have_count(0)
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    assert api.call("GET", "/api/games")["games"] == []
    tab.wait_for_function(NOTHING_KEPT)


def test_cancel_asks_first_and_the_question_goes_when_the_upload_is_finished(tab: Page, long_video: Path) -> None:
    held: list[Route] = []
    tab.route(PARTS, lambda route: held.append(route))
    begin(tab, long_video)
    until(tab, held, 3)
    tab.locator("#upload-cancel").click()
    tab.get_by_role("button", name="Keep it").click()
    expect(tab.locator("#upload-state")).to_be_visible()
    tab.locator("#upload-cancel").click()
    expect(tab.locator("#delete-dialog")).to_be_visible()
    for route in held:
        route.continue_()
    expect(tab.locator("#delete-dialog")).to_be_hidden()
    expect(tab.locator(READY)).to_be_visible()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_deleted_profile_takes_what_the_browser_kept_of_its_uploads_along(
    context: BrowserContext, tab: Page, api: Api, site: Site, long_video: Path, elsewhere: bool
) -> None:
    gone = api.profile
    api.new_profile("Other")
    held: list[Route] = []
    tab.route(PARTS, lambda route: held.append(route))
    begin(tab, long_video)
    until(tab, held)
    if elsewhere:
        api.call("DELETE", f"/api/profiles/{gone}")
        open_page(context, site)
    else:
        tab.locator("#profile-delete").click()
        expect(tab.locator("#delete-changes")).to_contain_text("The upload that is under way ends.")
        tab.get_by_test_id("delete-yes").click()
        expect(tab.get_by_test_id("profile-select")).to_have_value(api.profile)
        expect(tab.locator("#upload-state")).to_be_hidden()
        expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    tab.wait_for_function(NOTHING_KEPT)


def test_an_answer_of_finalize_that_was_lost_costs_nothing(tab: Page, long_video: Path) -> None:
    lost: list[int] = []

    def lose(route: Route) -> None:
        if not lost:
            lost.append(route.fetch().status)
            route.abort()
        else:
            route.continue_()

    tab.route("**/finalize-upload", lose)
    begin(tab, long_video)
    expect(tab.locator(READY)).to_be_visible()
    assert lost == [200]
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_what_is_no_video_is_refused_with_the_reason(tab: Page, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    begin(tab, text)
    expect(tab.get_by_test_id("error-banner")).to_contain_text("nothing was stored")
    expect(tab.get_by_test_id("game-item")).to_have_count(0)


def test_an_empty_file_is_refused_and_the_next_one_is_sent(tab: Page, video: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    begin(tab, empty)
    expect(tab.get_by_test_id("error-banner")).to_contain_text("“empty.mp4” is empty")
    begin(tab, video)
    expect(tab.locator(READY)).to_be_visible()
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_another_file_brings_its_name_unless_one_was_typed(tab: Page, video: Path, long_video: Path) -> None:
    file, name = tab.get_by_test_id("upload-file"), tab.get_by_test_id("upload-name")
    file.set_input_files(video)
    expect(name).to_have_value("match")
    file.set_input_files(long_video)
    expect(name).to_have_value("long")
    name.fill("Final")
    file.set_input_files(video)
    expect(name).to_have_value("Final")
