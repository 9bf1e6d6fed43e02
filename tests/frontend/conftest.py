"""The page in Chromium: one backend, one page server and one browser for all tests, a context for each.

No test here is async: playwright's synchronous API keeps a loop of its own running.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Request, expect, sync_playwright
from tests.frontend.site import MIB, Api, Site, backend, make_video, page_server
from tests.ports import free_ports

from parity.checks.again import repeat
from parity.checks.browser import FLAGS, find_chromium

PATIENCE_MS = 60_000
"""Timeout of each wait for the page, which may need the backend, ffmpeg or the decoder on a busy machine."""
expect.set_options(timeout=PATIENCE_MS)
interrupted: list[str] = []
"""Requests of the running test that Chromium gave up because a network interface of the host came or went, as those of
containers do (`parity.checks.browser.NetworkChanged`)."""


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """A test that failed while the host's network changed says nothing: it runs again."""
    repeat(
        item,
        nextitem,
        lambda _last: interrupted.clear(),
        lambda reports: bool(interrupted) and any(report.failed for report in reports),
    )
    return True


def _note(asked: Request) -> None:
    if "ERR_NETWORK_CHANGED" in (asked.failure or ""):
        interrupted.append(asked.url)


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site") / "data"
    page, api = free_ports(2)
    known = f"http://localhost:{page}"
    with backend(api, folder, CORS_ORIGINS=known) as address, page_server(page, address):
        yield Site(known, f"http://127.0.0.1:{page}", address)


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium, or set PARITY_CHROMIUM")
    browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS], timeout=3 * PATIENCE_MS)
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds that every browser plays."""
    return make_video(tmp_path_factory.mktemp("video") / "match.mp4")


@pytest.fixture(scope="package")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in three parts."""
    return make_video(tmp_path_factory.mktemp("video") / "long.mp4", pad_to=12 * MIB)


@pytest.fixture
def api(site: Site) -> Iterator[Api]:
    """A new person, without a profile."""
    made = Api(site.api, f"u-{secrets.token_hex(6)}")
    yield made
    made.http.close()


NewContext = Callable[..., BrowserContext]


@pytest.fixture
def contexts(browser: Browser, api: Api) -> Iterator[NewContext]:
    """Makes browser contexts of the person; none of their pages may end with an uncaught error."""
    made: list[BrowserContext] = []
    wrong: list[str] = []

    def new(**options: Any) -> BrowserContext:
        context = browser.new_context(**options)
        # Not on about:blank, which has no storage.
        context.add_init_script(f"if (origin !== 'null') localStorage.setItem('reel-ballers.user', '{api.user}')")
        context.on("requestfailed", _note)
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        context.set_default_timeout(PATIENCE_MS)
        made.append(context)
        return context

    yield new
    for context in made:
        context.close()
    assert wrong == []


@pytest.fixture
def context(contexts: NewContext) -> BrowserContext:
    return contexts()


def open_page(context: BrowserContext, site: Site, *, ready: bool = True) -> Page:
    """A tab with the page; ``ready``: when its scripts have run and the API has answered."""
    tab = context.new_page()
    tab.goto(site.page)
    if ready:
        expect(tab.locator("#environment")).to_be_visible()
    return tab


def until(tab: Page, held: Sequence[object], number: int = 1) -> None:
    """Return when so many requests are held back; a test that never gets there ends by its own timeout."""
    while len(held) < number:
        tab.wait_for_timeout(20)


def wait_for_video(tab: Page) -> None:
    """Return when the player has the whole video: no request for it can fail any more, and it moves nothing."""
    tab.wait_for_function("""() => {
        const { buffered, duration, readyState } = document.querySelector("video");
        return readyState >= 2 && buffered.length > 0 && buffered.end(buffered.length - 1) > duration - 0.1;
    }""")


def choose_profile(tab: Page, profile: str) -> None:
    """Selects a profile; returns when the API knows that it is the one that was selected last."""
    with tab.expect_response(f"**/api/profiles/{profile}/select"):
        tab.get_by_test_id("profile-select").select_option(profile)


@pytest.fixture
def tab(context: BrowserContext, api: Api, site: Site) -> Page:
    """The page with a profile, without games."""
    api.new_profile()
    return open_page(context, site)
