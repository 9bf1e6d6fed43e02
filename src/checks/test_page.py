"""The page does what it is for, as a person uses it: in a browser, on the page's own origin."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.async_api import Page
from playwright.async_api import TimeoutError as BrowserTimeout

from journey import DRAFT_FRAME, SMALL, SMALL_SECONDS, Cut, wrong_with_reel
from parity.checks import Named, check
from parity.checks.browser import Pages
from parity.checks.media import Media
from parity.checks.person import Person

CUTS = (Cut(0.5, 2.0), Cut(3.0, 4.5))
STEP_MS, RENDER_MS = 60_000, 300_000


@check(
    "E",
    "On the page a person can create a profile, upload, cut clips, make a reel, export and download it",
    broken=Named("origin_elsewhere"),
    because="after nothing",
    needs=("origin", "browser", "ffmpeg"),
    deadline_s=300,
)
async def test_page(newcomer: Person, page: Pages, media: Media, tmp_path: Path) -> None:
    """Look at screenshot.png for what the page showed, and at browser.txt for the error that stopped it."""
    video = str(await media.file(SMALL_SECONDS, SMALL))
    done: list[str] = []
    saved = tmp_path / "reel.mp4"
    origin = str(newcomer.api.origin)
    async with page(counts_when_done=True) as tab:
        tab.set_default_timeout(STEP_MS)
        # In a new browser the page would create a user. A known user's data can be found in the evidence.
        user = f"localStorage.setItem('reel-ballers.user', {json.dumps(newcomer.api.user)})"
        await tab.add_init_script(f"if (location.origin === {json.dumps(origin)}) {user}")
        try:
            await _use(tab, f"{origin}/", video, done)
            async with tab.expect_download() as waiting:
                await tab.get_by_test_id("download-link").click()
            await (await waiting.value).save_as(saved)
        except BrowserTimeout as error:
            banner = tab.get_by_test_id("error-banner")
            shown = " ".join((await banner.inner_text()).split()) if await banner.is_visible() else "no error"
            last, what = (done[-1] if done else "nothing"), str(error).splitlines()[0]
            raise AssertionError(f"after {last}: {what} (the page shows: {shown})") from None
    wrong = [note for note in page.notes.console if note.startswith("uncaught")]
    wrong += wrong_with_reel(await media.probe(saved), sum(one.seconds for one in CUTS), DRAFT_FRAME)
    assert not wrong, "\n".join(wrong)


async def _use(tab: Page, url: str, video: str, done: list[str]) -> None:
    """Each step waits for what a person would see."""
    # The forms work once the scripts have run; the page says so by naming its environment.
    await tab.goto(url)
    await tab.locator("#environment:not([hidden])").wait_for()
    await tab.get_by_test_id("profile-name").fill("Check")
    await tab.get_by_test_id("create-profile").click()
    await tab.locator("#workspace:not([disabled])").wait_for()
    done.append("profile")
    await tab.get_by_test_id("upload-file").set_input_files(video)
    await tab.get_by_test_id("upload-name").fill("Match")
    await tab.get_by_test_id("upload-start").click()
    await tab.locator('[data-testid="game-item"][data-status="ready"]').wait_for()
    done.append("upload")
    for number, one in enumerate(CUTS, 1):
        await tab.get_by_test_id("clip-start").fill(str(one.start))
        await tab.get_by_test_id("clip-end").fill(str(one.end))
        await tab.get_by_test_id("clip-name").fill(f"Clip {number}")
        await tab.get_by_test_id("clip-create").click()
        await tab.locator('[data-testid="clip-item"]').nth(number - 1).wait_for()
    done.append("clips")
    await tab.get_by_test_id("project-name").fill("Reel")
    await tab.get_by_test_id("overlay-text").fill("1:0")
    await tab.get_by_test_id("quality").select_option("draft")
    await tab.get_by_test_id("project-create").click()
    await tab.locator('[data-testid="project-select"] option').first.wait_for(state="attached")
    done.append("reel")
    await tab.get_by_test_id("export-start").click()
    await tab.locator('[data-testid="export-status"][data-state="complete"]').wait_for(timeout=RENDER_MS)
    await tab.get_by_test_id("download-link").wait_for()
    done.append("export")
