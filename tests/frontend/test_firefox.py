"""The same page in Firefox: one walk from the first visit to the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.frontend.firefox import Firefox, find_firefox, firefox
from tests.frontend.site import Api, Site

AUDIT = (Path(__file__).parent / "audit.js").read_text()


@pytest.fixture
def tab(site: Site, api: Api) -> Iterator[Firefox]:
    program = find_firefox()
    if program is None:
        pytest.skip("no Firefox: apt-get install firefox-esr")
    with firefox(program) as tab:
        # Any file of the page's origin that runs nothing: the user has to be there before the page.
        tab.go(f"{site.page}/favicon.svg")
        tab.run(f"localStorage.setItem('reel-ballers.user', '{api.user}') ?? 0")
        tab.go(site.page)
        yield tab


def test_the_page_works_in_firefox(tab: Firefox, api: Api, long_video: Path) -> None:
    tab.fill("profile-name", "Main")
    tab.click("create-profile")
    tab.until("!document.querySelector('#workspace').disabled")
    tab.choose("upload-file", long_video)
    tab.fill("upload-name", "Match")
    tab.click("upload-start")
    tab.until("document.querySelector('[data-testid=game-item]')?.dataset.status === 'ready'")
    tab.fill("clip-start", "0.5")
    tab.fill("clip-end", "1.5")
    tab.fill("clip-name", "Goal")
    tab.click("clip-create")
    tab.until("document.querySelector('[data-testid=clip-item]')?.dataset.status === 'ready'")
    tab.fill("project-name", "Highlights")
    tab.click("project-create")
    tab.until("document.querySelector('[data-testid=reel-item]') !== null")
    tab.click("export-start")
    tab.until("document.querySelector('[data-testid=export-status]').dataset.state === 'complete'")
    tab.until("document.querySelector('[data-testid=download-link]').checkVisibility()")
    assert tab.run(f"({AUDIT.partition('() =>')[1]}{AUDIT.partition('() =>')[2]})()") == []
    assert tab.errors == []
    assert tab.run("document.querySelector('#error-banner').hidden") is True
    api.profile = tab.run("sessionStorage.getItem('reel-ballers.profile')")
    assert [job["status"] for job in api.call("GET", "/api/exports")["exports"]] == ["complete"]
