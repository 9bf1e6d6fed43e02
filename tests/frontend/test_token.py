"""The page asks once for the token of an app that is closed to strangers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect
from tests.frontend.conftest import NewContext, open_page, until
from tests.frontend.site import Api, Site, backend, page_server
from tests.ports import free_ports


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page whose API wants the token."""
    page, api = free_ports(2)
    known = f"http://localhost:{page}"
    folder = tmp_path_factory.mktemp("closed") / "data"
    with backend(api, folder, CORS_ORIGINS=known, ACCESS_TOKEN="sesame-7f3a") as address, page_server(page, address):
        yield known


def opened(context: BrowserContext, address: str) -> Page:
    tab = context.new_page()
    tab.goto(address)
    return tab


def give(tab: Page, token: str) -> None:
    tab.get_by_test_id("token-input").fill(token)
    tab.get_by_test_id("token-yes").click()


def test_it_asks_once_says_when_a_token_is_refused_and_remembers_the_right_one(
    contexts: NewContext, closed: str
) -> None:
    context = contexts()
    tab = opened(context, closed)
    expect(tab.get_by_test_id("token-dialog")).to_be_visible()
    expect(tab.locator("#token-refused")).to_be_hidden()
    for wrong in ("wrong", "wrong again", "ü"):
        give(tab, wrong)
        expect(tab.locator("#token-refused")).to_be_visible()
        expect(tab.get_by_test_id("token-input")).to_have_value("")
        expect(tab.get_by_test_id("token-input")).to_be_focused()
    give(tab, "sesame-7f3a")
    expect(tab.get_by_test_id("profile-name")).to_be_visible()
    tab.get_by_test_id("profile-name").fill("Main")
    tab.get_by_test_id("create-profile").click()
    expect(tab.locator("#workspace")).to_be_visible()
    second = opened(context, closed)
    expect(second.locator("#workspace")).to_be_visible()
    expect(second.get_by_test_id("token-dialog")).to_be_hidden()
    assert "sesame" not in second.url


def test_several_requests_that_are_refused_at_once_share_one_question(contexts: NewContext, closed: str) -> None:
    context = contexts()
    tab = opened(context, closed)
    give(tab, "sesame-7f3a")
    tab.get_by_test_id("profile-name").fill("Main")
    tab.get_by_test_id("create-profile").click()
    expect(tab.locator("#game-empty")).to_be_visible()
    # The token is changed on the server: four lists are refused at once.
    tab.evaluate("localStorage.setItem('reel-ballers.token', 'old')")
    tab.evaluate("import('/store.js').then(({load}) => { window.loaded = load(); })")
    give(tab, "sesame-7f3a")
    tab.evaluate("() => window.loaded")
    expect(tab.get_by_test_id("token-dialog")).to_be_hidden()


def test_without_the_token_the_page_says_why_and_asks_again_when_told(contexts: NewContext, closed: str) -> None:
    tab = opened(contexts(), closed)
    expect(tab.get_by_test_id("token-dialog")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.get_by_test_id("error-banner")).to_contain_text("This app is private")
    expect(tab.get_by_test_id("error-banner")).to_contain_text("type the access token that you were given")
    expect(tab.get_by_test_id("error-banner")).not_to_contain_text("Bearer")
    tab.get_by_test_id("error-again").click()
    give(tab, "sesame-7f3a")
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    expect(tab.get_by_test_id("profile-name")).to_be_visible()


def test_who_leaves_the_question_is_not_asked_again_before_doing_something(contexts: NewContext, closed: str) -> None:
    tab = opened(contexts(), closed)
    give(tab, "sesame-7f3a")
    for name in ("First", "Second"):
        tab.get_by_test_id("profile-name").fill(name)
        tab.get_by_test_id("create-profile").click()
        expect(tab.locator("#profile-rename")).to_have_attribute("aria-label", f"Rename profile {name}")
        expect(tab.get_by_test_id("create-profile")).to_be_enabled()  # the server knows which one is selected
        tab.locator("#profile-new").click()
    # The token is changed on the server. A switch of the profile loads four lists, then tells the server.
    tab.evaluate("localStorage.setItem('reel-ballers.token', 'old')")
    held: list[Route] = []
    tab.route("**/select", lambda route: held.append(route))
    tab.get_by_test_id("profile-select").select_option(label="First")
    expect(tab.get_by_test_id("token-dialog")).to_be_visible()
    tab.keyboard.press("Escape")
    # The lists fail first, with the same words. A click on "Close" would be something that the person does.
    until(tab, held)
    tab.evaluate("import('/banner.js').then(({hideAll}) => hideAll())")
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    held.pop().continue_()
    tab.unroute("**/select")
    expect(tab.get_by_test_id("error-banner")).to_contain_text("This app is private")
    expect(tab.get_by_test_id("token-dialog")).to_be_hidden()
    # The message goes with the first answer, and not when the last list is there.
    tab.route("**/api/games", lambda route: held.append(route))
    # A second question would cover the button.
    tab.get_by_test_id("error-again").click()
    give(tab, "sesame-7f3a")
    until(tab, held)
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    for route in held:
        route.continue_()
    tab.unroute("**/api/games")
    expect(tab.locator("#game-empty")).to_be_visible()


def test_a_change_that_was_refused_says_so_once_the_token_was_given_elsewhere(
    contexts: NewContext, closed: str
) -> None:
    tab = opened(contexts(), closed)
    give(tab, "sesame-7f3a")
    tab.get_by_test_id("profile-name").fill("Main")
    tab.get_by_test_id("create-profile").click()
    expect(tab.locator("#game-empty")).to_be_visible()
    tab.evaluate("localStorage.setItem('reel-ballers.token', 'old')")
    tab.locator("#profile-rename").click()
    tab.locator("#rename-name").fill("Renamed")
    tab.get_by_test_id("rename-yes").click()
    expect(tab.get_by_test_id("token-dialog")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.get_by_test_id("error-banner")).to_contain_text("This app is private")
    # Another tab was given the token.
    tab.evaluate("localStorage.setItem('reel-ballers.token', 'sesame-7f3a')")
    tab.evaluate("import('/store.js').then(({ load }) => load())")
    expect(tab.get_by_test_id("error-banner")).to_contain_text("Your last change was not made. Try again.")
    tab.get_by_test_id("error-again").click()
    expect(tab.locator("#profile-select option:checked")).to_have_text("Renamed")
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_a_token_that_is_no_longer_asked_for_does_no_harm(
    contexts: NewContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    reel = api.reel("Highlights", [api.clip(api.upload(video), "Goal")])
    context = contexts()
    context.add_init_script("if (origin !== 'null') localStorage.setItem('reel-ballers.token', 'withdrawn')")
    tab = open_page(context, site)
    tab.get_by_test_id("project-select").select_option(reel)
    # A short export may have sent all its events before a later listener hears the first.
    events: list[object] = []
    tab.on("websocket", lambda socket: socket.on("framereceived", lambda event: events.append(event)))
    tab.get_by_test_id("export-start").click()
    until(tab, events)
    expect(tab.get_by_test_id("download-link")).to_be_visible(timeout=60_000)
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()


def test_a_question_that_is_open_when_the_token_is_withdrawn_can_be_left(contexts: NewContext, tmp_path: Path) -> None:
    page, api = free_ports(2)
    known = f"http://localhost:{page}"
    with page_server(page, f"http://localhost:{api}"):
        with backend(api, tmp_path / "data", CORS_ORIGINS=known, ACCESS_TOKEN="sesame-7f3a"):
            tab = opened(contexts(), known)
            expect(tab.get_by_test_id("token-dialog")).to_be_visible()
        with backend(api, tmp_path / "data", CORS_ORIGINS=known):
            # The first answer shows that no token is needed, so the user need not try again.
            tab.keyboard.press("Escape")
            expect(tab.get_by_test_id("profile-name")).to_be_visible()
            expect(tab.get_by_test_id("error-banner")).to_be_hidden()
