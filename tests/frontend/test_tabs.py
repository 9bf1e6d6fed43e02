"""Two tabs keep their own profile, and no answer that comes late undoes a newer one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from tests.frontend.conftest import choose_profile, open_page, until, wait_for_video
from tests.frontend.site import Api, Site


def test_two_tabs_of_the_very_first_visit_are_one_user(browser: Browser, site: Site) -> None:
    context = browser.new_context()
    # Neither tab sees at its start what the other has written, which is how two processes may meet.
    context.add_init_script(
        """const get = Storage.prototype.getItem, set = Storage.prototype.setItem, mine = new Set();
        Storage.prototype.setItem = function (name, value) { mine.add(name); set.call(this, name, value); };
        Storage.prototype.getItem = function (name) {
            return name === 'reel-ballers.user' && !mine.has(name) ? null : get.call(this, name);
        };"""
    )
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.headers.get("x-user-id", "")))
    tabs = [context.new_page(), context.new_page()]
    for tab in tabs:
        tab.goto(site.page, wait_until="commit")
    users = set()
    for tab in tabs:
        expect(tab.locator("#environment")).to_be_visible()
        users.add(tab.evaluate("localStorage.getItem('reel-ballers.user')"))
    context.close()
    assert len(users) == 1
    assert set(asked) - {""} == users


def names(tab: Page, kind: str) -> Any:
    return tab.locator(f'[data-testid="{kind}-item"] .title').all_inner_texts()


def test_each_tab_keeps_its_profile_over_a_reload(context: BrowserContext, api: Api, site: Site, video: Path) -> None:
    first = api.new_profile("First")
    api.upload(video, "Game of the first")
    second = api.new_profile("Second")
    api.upload(video, "Game of the second")
    one, two = open_page(context, site), open_page(context, site)
    one.get_by_test_id("profile-select").select_option(first)
    two.get_by_test_id("profile-select").select_option(second)
    for _ in range(2):
        expect(one.get_by_test_id("game-item")).to_contain_text("Game of the first")
        expect(two.get_by_test_id("game-item")).to_contain_text("Game of the second")
        one.reload()
        two.reload()
    one.get_by_role("button", name="Rename Game of the first").click()
    one.locator("#rename-name").fill("Renamed")
    one.get_by_test_id("rename-yes").click()
    expect(one.get_by_test_id("game-item")).to_contain_text("Renamed")
    assert [game["name"] for game in api.call("GET", "/api/games")["games"]] == ["Game of the second"]


def test_a_new_tab_opens_with_the_profile_that_was_selected_last(context: BrowserContext, api: Api, site: Site) -> None:
    first = api.new_profile("First")
    api.new_profile("Second")
    one = open_page(context, site)
    choose_profile(one, first)
    expect(one).to_have_title("First · Reel Ballers")
    expect(open_page(context, site)).to_have_title("First · Reel Ballers")


def test_an_answer_of_the_profile_before_is_not_shown_in_the_next_one(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    first = api.new_profile("First")
    api.upload(video, "Game of the first")
    second = api.new_profile("Second")
    api.call("POST", f"/api/profiles/{second}/select")
    tab = open_page(context, site)
    held: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.headers.get("x-profile-id") == first:
            held.append(route)
        else:
            route.continue_()

    selected: list[str] = []
    tab.on("request", lambda asked: selected.append(asked.url) if asked.url.endswith("/select") else None)
    tab.route("**/api/games", hold)
    tab.get_by_test_id("profile-select").select_option(first)
    expect(tab.locator("#game-list[aria-busy=true]")).to_be_visible()
    until(tab, held)
    choose_profile(tab, second)
    # The choice that was taken back is not what a new tab opens with.
    assert [url.split("/")[-2] for url in selected] == [second]
    expect(tab.locator("#game-empty")).to_be_visible()
    for route in held:
        route.continue_()
    choose_profile(tab, second)
    expect(tab.locator("#game-empty")).to_be_visible()
    expect(tab.get_by_test_id("game-item")).to_have_count(0)


def test_a_list_that_was_asked_for_before_a_change_does_not_undo_it(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    api.upload(video, "Old name")
    tab = open_page(context, site)
    expect(tab.get_by_test_id("game-item")).to_contain_text("Old name")
    held: list[tuple[Route, Any]] = []

    def hold(route: Route) -> None:
        if route.request.method == "GET" and not held:
            held.append((route, route.fetch()))
        else:
            route.continue_()

    tab.route("**/api/games", hold)
    # Another list that is asked for, and whose answer is under way for long.
    tab.evaluate("import('/store.js').then(({load}) => { window.late = load('games'); })")
    until(tab, held)
    tab.get_by_role("button", name="Rename Old name").click()
    tab.locator("#rename-name").fill("New name")
    tab.get_by_test_id("rename-yes").click()
    expect(tab.get_by_test_id("game-item")).to_contain_text("New name")
    route, answer = held[0]
    assert "Old name" in answer.text()
    route.fulfill(response=answer)
    tab.evaluate("() => window.late")
    assert names(tab, "game") == ["New name"]


def test_a_clip_of_a_game_that_another_tab_deleted_is_refused_and_the_game_leaves_the_list(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    game = api.upload(video)
    tab = open_page(context, site)
    expect(tab.locator("#clip-controls")).to_be_enabled()
    # The player's error about a video that is gone before it was there would cover that of the change.
    wait_for_video(tab)
    api.call("DELETE", f"/api/games/{game}")
    tab.get_by_test_id("clip-name").fill("Goal")
    tab.get_by_test_id("clip-create").click()
    expect(tab.get_by_test_id("error-banner")).to_contain_text("Not found")
    expect(tab.get_by_test_id("game-item")).to_have_count(0)
    expect(tab.locator("#clip-form")).to_be_hidden()


def test_the_video_chosen_last_is_the_one_that_plays(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    one, two = api.upload(video, "One"), api.upload(video, "Two")
    tab = open_page(context, site)
    expect(tab.locator("#player-title")).to_have_text("Two")
    held: list[Route] = []

    def hold(route: Route) -> None:
        if one in route.request.url and not held:
            held.append(route)
        else:
            route.continue_()

    tab.route("**/api/storage/url*", hold)
    tab.get_by_role("button", name="Watch One").click()
    until(tab, held)
    tab.get_by_role("button", name="Watch Two").click()
    expect(tab.locator("#player-title")).to_have_text("Two")
    with tab.expect_response(lambda answer: one in answer.url and "/api/storage/url" in answer.url):
        held[0].continue_()
    tab.wait_for_function("id => document.querySelector('video').src.includes(id)", arg=two)


def test_a_profile_that_another_tab_deleted_gives_way_to_one_that_is_there(
    context: BrowserContext, api: Api, site: Site
) -> None:
    gone = api.new_profile("Gone")
    api.new_profile("Stays")
    tab = open_page(context, site)
    choose_profile(tab, gone)
    expect(tab).to_have_title("Gone · Reel Ballers")
    api.call("DELETE", f"/api/profiles/{gone}")
    tab.reload()
    expect(tab).to_have_title("Stays · Reel Ballers")
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_what_another_tab_has_deleted_is_deleted(context: BrowserContext, api: Api, site: Site, video: Path) -> None:
    api.new_profile()
    game = api.upload(video)
    clip = api.clip(game, "Goal")
    reel = api.reel("Highlights", [clip])
    export = api.exported(reel)
    tab = open_page(context, site)
    for kind, name, path in (
        ("export", "Highlights", f"exports/{export}"),
        ("reel", "Highlights", f"projects/{reel}"),
        ("clip", "Goal", f"clips/{clip}"),
        ("game", "Match", f"games/{game}"),
    ):
        item = tab.get_by_test_id(f"{kind}-item")
        expect(item).to_be_visible()
        item.get_by_role("button", name=f"Delete {name}").click()
        expect(tab.locator("#delete-dialog")).to_be_visible()
        api.call("DELETE", f"/api/{path}")
        tab.get_by_test_id("delete-yes").click()
        expect(item).to_have_count(0)
        expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_a_change_of_what_another_tab_deleted_is_not_offered_again(tab: Page, api: Api, video: Path) -> None:
    game = api.upload(video)
    tab.reload()
    # The player's error about a video that is gone before it was there would cover that of the change.
    wait_for_video(tab)
    tab.get_by_role("button", name="Rename Match").click()
    api.call("DELETE", f"/api/games/{game}")
    tab.locator("#rename-name").fill("Final")
    tab.get_by_test_id("rename-yes").click()
    expect(tab.get_by_test_id("error-banner")).to_be_visible()
    expect(tab.get_by_test_id("error-again")).to_be_hidden()
    expect(tab.get_by_test_id("game-item")).to_have_count(0)


def test_a_late_answer_about_a_job_does_not_undo_a_newer_event(tab: Page) -> None:
    shown = tab.evaluate("""async () => {
      const sockets = [];
      window.WebSocket = class extends EventTarget {
        static OPEN = 1;
        readyState = 0;
        constructor() { super(); sockets.push(this); }
        close() {}
        send() {}
      };
      const { watch } = await import("/watch.js");
      const shown = [];
      const [asked, answer] = [Promise.withResolvers(), Promise.withResolvers()];
      const ending = watch("/ws/export/x", {
        poll: () => (asked.resolve(), answer.promise),
        show: ({ progress }) => shown.push(progress),
        ended: ({ status }) => status === "complete",
      });
      const event = (status, progress) =>
        sockets[0].dispatchEvent(new MessageEvent("message", { data: JSON.stringify({ status, progress }) }));
      await asked.promise; // by REST, because the socket is not open yet
      sockets[0].readyState = 1;
      event("processing", 0.8);
      answer.resolve({ status: "processing", progress: 0.3 });
      await new Promise((resolve) => setTimeout(resolve));
      event("complete", 1);
      await ending;
      return shown;
    }""")
    assert shown == [0.8, 1]


def test_a_connection_that_died_in_silence_is_replaced(tab: Page) -> None:
    """After a sleep no close arrives for minutes, and no answer to a ping."""
    tab.clock.install()
    tab.evaluate("""async () => {
      window.sockets = [];
      window.polls = 0;
      window.WebSocket = class extends EventTarget {
        static OPEN = 1;
        readyState = 1;
        constructor() { super(); sockets.push(this); }
        close() {}
        send() {
          if (this === sockets[0] && !window.dead) this.dispatchEvent(new MessageEvent("message", { data: "pong" }));
        }
      };
      const { watch } = await import("/watch.js");
      const poll = async () => (polls += 1, { status: "processing" });
      watch("/ws/export/x", { poll, show: () => {}, ended: () => false });
      sockets[0].dispatchEvent(new Event("open"));
    }""")
    tab.clock.run_for(70_000)
    assert tab.evaluate("[sockets.length, polls]") == [1, 0]
    tab.evaluate("window.dead = true")
    tab.clock.run_for(41_000)
    assert tab.evaluate("sockets.length") == 2


def test_a_page_that_is_looked_at_again_after_a_sleep_shows_what_is_there_now(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    game = api.upload(video, "Old name")
    tab = open_page(context, site)
    expect(tab.get_by_test_id("game-item")).to_contain_text("Old name")
    api.call("PATCH", f"/api/games/{game}", {"name": "New name"})
    # It was on the screen all the time, and the clock of its timers stood still.
    tab.evaluate("Date.now = ((now) => () => now() + 60_000)(Date.now); dispatchEvent(new Event('focus'))")
    expect(tab.get_by_test_id("game-item")).to_contain_text("New name")
