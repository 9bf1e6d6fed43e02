"""The page does what it is for, as a person uses it: in a browser, on the staging frontend's origin."""

from __future__ import annotations

import json
from dataclasses import dataclass

from playwright.async_api import Page
from playwright.async_api import TimeoutError as BrowserTimeout

from parity.checks.kit.media import Probe
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Env, Need
from parity.checks.product.exports import SMALL_SECONDS, judge_file
from parity.checks.product.journey import Cut

ELSEWHERE = "https://elsewhere.example"
CUTS = (Cut(0.5, 2.0), Cut(3.0, 4.5))
STEP_MS = 20_000
RENDER_MS = 150_000


@dataclass(frozen=True)
class PageObservation:
    """Steps that were done; ``stopped`` is the step that was not and what the page showed then."""

    done: list[str]
    stopped: str
    probe: Probe | None
    problems: list[str]


async def observe(tools: Tools) -> PageObservation:
    video = str(await tools.media.video(SMALL_SECONDS, "640x360"))
    done: list[str] = []
    probe = None
    stopped = ""
    async with tools.page() as page:
        page.set_default_timeout(STEP_MS)
        await page.add_init_script(_as_user(tools))
        try:
            await _use(page, f"{tools.target.frontend_origin}/", video, done)
            async with page.expect_download() as waiting:
                await page.get_by_test_id("download-link").click()
            saved = tools.folder / "downloads" / "reel.mp4"
            await (await waiting.value).save_as(saved)
            done.append("download")
            probe = await tools.media.probe(saved)
            saved.unlink()
        except BrowserTimeout as error:
            banner = page.get_by_test_id("error-banner")
            shown = " ".join((await banner.inner_text()).split()) if await banner.is_visible() else "no error"
            stopped = f"after {done[-1] if done else 'nothing'}: {str(error).splitlines()[0]} (the page shows: {shown})"
    return PageObservation(done, stopped, probe, [note for note in tools.notes.console if note.startswith("uncaught")])


def _as_user(tools: Tools) -> str:
    """The page makes a user of its own in a fresh browser; this check's user is known, so that it can be removed."""
    origin, user = json.dumps(tools.target.frontend_origin), json.dumps(tools.user)
    return f"if (location.origin === {origin}) localStorage.setItem('reel-ballers.user', {user})"


async def _use(page: Page, url: str, video: str, done: list[str]) -> None:
    """Each step waits for what a person would see."""
    # The forms work once the scripts have run; the page says so by naming its environment.
    await page.goto(url)
    await page.locator("#environment:not([hidden])").wait_for()
    await page.get_by_test_id("profile-name").fill("Check")
    await page.get_by_test_id("create-profile").click()
    await page.locator("#workspace:not([disabled])").wait_for()
    done.append("profile")
    await page.get_by_test_id("upload-file").set_input_files(video)
    await page.get_by_test_id("upload-name").fill("Match")
    await page.get_by_test_id("upload-start").click()
    await page.locator('[data-testid="game-item"][data-status="ready"]').wait_for()
    done.append("upload")
    for number, one in enumerate(CUTS, 1):
        await page.get_by_test_id("clip-start").fill(str(one.start))
        await page.get_by_test_id("clip-end").fill(str(one.end))
        await page.get_by_test_id("clip-name").fill(f"Clip {number}")
        await page.get_by_test_id("clip-create").click()
        await page.locator('[data-testid="clip-item"]').nth(number - 1).wait_for()
    done.append("clips")
    await page.get_by_test_id("project-name").fill("Reel")
    await page.get_by_test_id("overlay-text").fill("1:0")
    await page.get_by_test_id("quality").select_option("draft")
    await page.get_by_test_id("project-create").click()
    await page.locator('[data-testid="project-select"] option').first.wait_for(state="attached")
    done.append("reel")
    await page.get_by_test_id("export-start").click()
    await page.locator('[data-testid="export-status"][data-state="complete"]').wait_for(timeout=RENDER_MS)
    await page.get_by_test_id("download-link").wait_for()
    done.append("export")


def judge(seen: PageObservation) -> list[str]:
    reasons = [seen.stopped] if seen.stopped else []
    reasons += seen.problems
    if not seen.stopped and seen.probe is None:
        reasons.append("nothing was downloaded")
    if seen.probe is not None:
        reasons += judge_file(seen.probe, sum(one.seconds for one in CUTS), (854, 480))
    return reasons


PAGE: Check[PageObservation] = Check(
    id="frontend-page-works",
    title="On the page: create a profile, upload, cut clips, make a reel, export, download",
    capability="E",
    observe=observe,
    judge=judge,
    broken=Broken("CORS_ORIGINS names another origin", Env({"CORS_ORIGINS": ELSEWHERE})),
    needs=frozenset({Need.ADMIN, Need.BROWSER, Need.FRONTEND_TLS, Need.FFMPEG}),
    deadline_s=300.0,
)
