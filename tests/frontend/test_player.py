"""The player: frame by frame, and a preview of what the browser cannot play."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect
from tests.frontend.conftest import open_page, until
from tests.frontend.site import RATE, Api, Site, make_video
from tests.frontend.test_uploads import READY, begin

from reel.tools import find_tools


def shown_at(tab: Page) -> float:
    return float(tab.locator("#player-time").get_attribute("data-at") or 0)


def frame(tab: Page, number: int) -> None:
    """Waits until the player shows this frame."""
    expect(tab.locator("#player-time")).to_contain_text(f"frame {number}")


def go_to(tab: Page, number: int) -> None:
    """Steps from where it is to this frame, each step once the one before is shown."""
    while (now := round(shown_at(tab) * RATE)) != number:
        tab.locator("#frame-on").press(">" if number - now >= 10 else ".")
        moved = "now => Math.round(document.querySelector('#player-time').dataset.at * 30) > now"
        tab.wait_for_function(moved, arg=now)


@pytest.fixture
def playing(context: BrowserContext, api: Api, site: Site, video: Path) -> Page:
    api.new_profile()
    api.upload(video)
    tab = open_page(context, site)
    tab.wait_for_function("document.querySelector('video').readyState >= 2")
    return tab


def test_frames_are_stepped_by_keys_and_by_buttons(playing: Page) -> None:
    playing.get_by_role("button", name="One frame on").click()
    frame(playing, 1)
    playing.locator("#frame-on").press(".")
    frame(playing, 2)
    playing.locator("#frame-on").press(">")
    frame(playing, 12)
    playing.locator("#frame-on").press("<")
    frame(playing, 2)
    playing.locator("#frame-on").press(",")
    frame(playing, 1)
    playing.locator("#frame-back").click()
    frame(playing, 0)
    playing.get_by_test_id("clip-name").fill(".,")
    frame(playing, 0)


def picture(path: Path, at: str, folder: Path) -> bytes:
    """A small grey picture of one frame of a file."""
    out = folder / f"{path.stem}-{at}.gray"
    chosen = f"select=eq(n\\,{at}),scale=160:90:flags=area,format=gray"
    command = [find_tools().ffmpeg, "-v", "error", "-y", "-i", str(path), "-vf", chosen, "-frames:v", "1"]
    subprocess.run([*command, "-f", "rawvideo", str(out)], check=True)
    return out.read_bytes()


def unlike(one: bytes, other: bytes) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def test_a_clip_begins_and_ends_with_the_frames_that_were_shown(
    playing: Page, api: Api, video: Path, tmp_path: Path
) -> None:
    go_to(playing, 17)
    playing.locator("#frame-on").press("i")
    go_to(playing, 47)
    playing.locator("#frame-on").press("o")
    expect(playing.locator("#clip-length")).to_contain_text("31 frames")
    playing.get_by_test_id("clip-name").fill("Goal")
    playing.get_by_test_id("clip-create").click()
    expect(playing.locator('[data-testid="clip-item"][data-status="ready"]')).to_be_visible(timeout=60_000)
    (clip,) = api.call("GET", "/api/clips")["clips"]
    assert (round(clip["start"] * RATE, 3), round(clip["end"] * RATE, 3)) == (17, 48)
    cut = tmp_path / "cut.mp4"
    url = api.call("GET", f"/api/storage/url?key={clip['key']}")["url"]
    cut.write_bytes(httpx.get(url, trust_env=False, timeout=60).content)
    for in_clip, in_game in ((0, 17), (30, 47)):
        seen = picture(cut, str(in_clip), tmp_path)
        near = {
            number: unlike(seen, picture(video, str(number), tmp_path)) for number in range(in_game - 2, in_game + 3)
        }
        assert min(near, key=lambda at: near[at]) == in_game, near


def test_a_typed_time_is_that_of_the_frame_shown_there(playing: Page, api: Api) -> None:
    playing.get_by_test_id("clip-start").fill("0.99")
    playing.get_by_role("button", name="Show the first frame").click()
    frame(playing, 29)
    playing.get_by_test_id("clip-end").fill("2")
    playing.get_by_role("button", name="Show the last frame").click()
    frame(playing, 59)
    playing.get_by_test_id("clip-name").fill("Goal")
    playing.get_by_test_id("clip-create").click()
    expect(playing.get_by_test_id("clip-item")).to_be_visible()
    (clip,) = api.call("GET", "/api/clips")["clips"]
    assert (round(clip["start"] * RATE, 3), clip["end"]) == (29, 2)


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("1.5", 1.5),
        (" 1,5 ", 1.5),
        ("0:01.5", 1.5),
        ("1:02:03.5", 3723.5),
        ("75:00", 4500),
        (".5", 0.5),
        ("۱:۱۵٫۵", 75.5),
        ("１：１５", 75),
    ],
)
def test_a_time_may_be_typed_as_people_write_it(tab: Page, typed: str, seconds: float) -> None:
    assert tab.evaluate("text => import('/dom.js').then(({ secondsOf }) => secondsOf(text))", typed) == seconds


def test_a_time_that_is_none_or_after_the_end_is_refused_at_its_field(playing: Page, api: Api) -> None:
    playing.get_by_test_id("clip-name").fill("Goal")
    wrong = [
        *((typed, "minutes:seconds") for typed in ("soon", "-1", "1e1", "0:60", "1:60:00")),
        ("9", "The game ends at 0:03.00"),
    ]
    for typed, why in wrong:
        playing.get_by_test_id("clip-end").fill(typed)
        playing.get_by_test_id("clip-create").click()
        expect(playing.get_by_test_id("clip-end")).to_be_focused()
        expect(playing.locator("#clip-length")).to_contain_text(why)
    assert api.call("GET", "/api/clips")["clips"] == []
    playing.get_by_test_id("clip-start").fill("0:01")
    playing.get_by_test_id("clip-end").fill("0:02,5")
    playing.get_by_test_id("clip-create").click()
    expect(playing.get_by_test_id("clip-item")).to_be_visible()
    (clip,) = api.call("GET", "/api/clips")["clips"]
    assert (clip["start"], clip["end"]) == (1, 2.5)


def test_steps_leave_a_frame_that_lasts_long(context: BrowserContext, api: Api, site: Site, tmp_path: Path) -> None:
    """A screen recording: half a second of frames, two seconds of one frame, then frames again."""
    recording = tmp_path / "screen.mp4"
    source = f"testsrc2=size=320x180:rate={RATE}:duration=4"
    select = f"select='lt(n,{RATE // 2})+gt(n,{RATE * 5 // 2})'"
    encoder = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-fps_mode", "vfr")
    command = [find_tools().ffmpeg, "-v", "error", "-f", "lavfi", "-i", source, "-vf", select, *encoder, str(recording)]
    subprocess.run(command, check=True)
    api.new_profile()
    api.upload(recording)
    tab = open_page(context, site)
    tab.wait_for_function("document.querySelector('video').readyState >= 2")
    for _ in range(4 * RATE):
        tab.locator("#frame-on").press(".")
    tab.wait_for_function("document.querySelector('#player-time').dataset.at > 3")
    tab.locator("#frame-on").press("<")
    tab.wait_for_function("document.querySelector('#player-time').dataset.at < 3.8")


UNPLAYABLE = {
    "mpeg2.ts": ("-c:v", "mpeg2video", "-c:a", "mp2"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-c:a", "libmp3lame"),
    "mjpeg.mov": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-c:a", "aac"),
    "hevc.mov": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "pools=1:log-level=none", "-tag:v", "hvc1"),
    "prores.mov": ("-c:v", "prores_ks", "-profile:v", "0", "-c:a", "pcm_s16le"),
}


@pytest.mark.parametrize("name", UNPLAYABLE)
def test_what_the_browser_cannot_play_gets_a_preview_that_it_can(
    context: BrowserContext, api: Api, site: Site, tmp_path: Path, name: str
) -> None:
    api.new_profile()
    game = api.upload(make_video(tmp_path / name, *UNPLAYABLE[name]))
    held: list[Route] = []
    context.route("**/preview", lambda route: held.append(route))
    tab = open_page(context, site)
    # The note goes as soon as there is a preview, so none is made before it was seen.
    until(tab, held)
    expect(tab.get_by_test_id("player-note")).to_contain_text("This browser cannot play")
    held[0].continue_()
    tab.wait_for_function("document.querySelector('video').src.includes('preview.mp4')", timeout=60_000)
    tab.wait_for_function("document.querySelector('video').videoWidth > 0")
    expect(tab.get_by_test_id("player-note")).to_be_hidden()
    tab.locator("#frame-on").click()
    frame(tab, 1)
    # It plays: further frames are shown by themselves.
    playing = "v => { v.muted = true; return v.play(); }"
    tab.locator("video").evaluate(playing)
    tab.wait_for_function(
        "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 10"
        " && document.querySelector('video').currentTime > 0.3"
    )
    (shown,) = api.call("GET", "/api/games")["games"]
    assert (shown["id"], shown["preview"]["status"]) == (game, "complete")


def test_a_preview_that_fails_says_why_and_can_be_tried_again(
    context: BrowserContext, api: Api, site: Site, tmp_path: Path
) -> None:
    api.new_profile()
    api.upload(make_video(tmp_path / "a.avi", *UNPLAYABLE["mpeg4.avi"]))
    state: dict[str, Any] = {"status": "failed", "progress": 0.1, "reason": "no room", "key": None}

    def fail(route: Route) -> None:
        answer = route.fetch()
        games = [{**game, "preview": state} for game in answer.json()["games"]]
        route.fulfill(response=answer, json={"games": games})

    context.route("**/api/games", fail)
    tab = open_page(context, site)
    expect(tab.get_by_test_id("player-note")).to_contain_text("No preview could be made: no room")
    context.unroute("**/api/games")
    tab.get_by_test_id("player-note").get_by_role("button", name="Try again").click()
    tab.wait_for_function("document.querySelector('video').src.includes('preview')", timeout=60_000)


def test_a_video_that_could_not_be_fetched_gets_no_preview(
    context: BrowserContext, api: Api, site: Site, video: Path
) -> None:
    api.new_profile()
    api.upload(video)
    context.route("**/source.mp4*", lambda route: route.abort())
    tab = open_page(context, site)
    expect(tab.get_by_test_id("error-banner")).to_contain_text("could not be loaded")
    context.unroute("**/source.mp4*")
    tab.get_by_test_id("error-again").click()
    tab.wait_for_function("document.querySelector('video').readyState >= 2")
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    assert api.call("GET", "/api/games")["games"][0]["preview"] is None


def test_a_url_of_a_video_that_expired_is_renewed_at_the_same_place(playing: Page) -> None:
    playing.locator("#frame-on").press(">")
    frame(playing, 10)
    before, second = playing.evaluate("[document.querySelector('video').src, Math.floor(Date.now() / 1000)]")
    # The time in a URL has whole seconds: within one the new URL would be the old one.
    playing.wait_for_function("second => Math.floor(Date.now() / 1000) > second", arg=second)
    # An hour later the next piece is refused.
    playing.evaluate("const far = performance.now() + 4e6; performance.now = () => far")
    playing.route("**/source.mp4*", lambda route: route.abort() if route.request.url == before else route.continue_())
    playing.evaluate("document.querySelector('video').src = document.querySelector('video').src")
    playing.wait_for_function("before => document.querySelector('video').src !== before", arg=before)
    playing.wait_for_function("document.querySelector('video').readyState >= 2")


def test_a_clip_that_ends_before_it_starts_is_refused_at_its_field(tab: Page, api: Api, video: Path) -> None:
    begin(tab, video)
    expect(tab.locator("#clip-length")).to_contain_text("90 frames")
    end = tab.get_by_test_id("clip-end")
    tab.get_by_test_id("clip-start").fill("2")
    end.fill("1")
    tab.get_by_test_id("clip-name").fill("Goal")
    tab.get_by_test_id("clip-create").click()
    expect(end).to_be_focused()
    assert end.evaluate("field => field.validationMessage") == "The end must come after the start"
    expect(tab.get_by_test_id("error-banner")).to_be_hidden()
    assert api.call("GET", "/api/clips")["clips"] == []
    end.fill("2.5")
    tab.get_by_test_id("clip-create").click()
    expect(tab.get_by_test_id("clip-item")).to_contain_text("Goal")


def test_the_form_of_a_clip_offers_a_clip_of_the_game_that_was_just_uploaded(tab: Page, video: Path) -> None:
    begin(tab, video)
    expect(tab.locator(READY)).to_be_visible()
    expect(tab.locator("#clip-length")).to_contain_text("90 frames")
    expect(tab.get_by_test_id("clip-end")).to_have_value("3")
