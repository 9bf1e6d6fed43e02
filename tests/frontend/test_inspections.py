"""A large video that the API looks through whole: the page says so, and opens it when it is ready."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route, expect
from tests.frontend.site import MIB, Api, make_video
from tests.frontend.test_uploads import begin

FRAGMENTED = (
    *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "15", "-c:a", "aac"),
    *("-movflags", "frag_keyframe+empty_moov+default_base_moof"),
)
LARGE = 37 * MIB
SENT_MS = 180_000
"""Timeout for uploading and reading a file of that size on a busy machine."""


class Shown:
    """What the list of games says beside the truth."""

    def __init__(self, tab: Page) -> None:
        self.instead: dict[str, Any] = {}
        tab.route(re.compile(r"/api/games$"), self._answer)

    def _answer(self, route: Route) -> None:
        answer = route.fetch()
        games = answer.json()["games"]
        route.fulfill(response=answer, json={"games": [{**game, **self.instead} for game in games]})


def test_a_large_recording_is_looked_through_and_then_opened(tab: Page, api: Api, tmp_path: Path) -> None:
    shown = Shown(tab)
    shown.instead = {"status": "inspecting", "progress": 0.4, "duration": None}
    path = make_video(tmp_path / "large.mp4", *FRAGMENTED, pad_to=LARGE)
    with tab.expect_response(re.compile("finalize-upload"), timeout=SENT_MS) as finalized:
        begin(tab, path)
    assert finalized.value.json()["status"] == "inspecting"
    item = tab.get_by_test_id("game-item")
    expect(item).to_contain_text("Looking through the video … 40 %", timeout=SENT_MS)
    expect(item.get_by_role("button", name="Watch Match")).to_have_count(0)
    expect(tab.get_by_test_id("player")).not_to_have_attribute("src", re.compile("."))
    shown.instead = {}
    expect(item).to_have_attribute("data-status", "ready", timeout=SENT_MS)
    expect(tab.get_by_test_id("player")).to_have_attribute("src", re.compile("source.mp4"))
    expect(item).to_contain_text("640 × 360")
    assert [game["status"] for game in api.call("GET", "/api/games")["games"]] == ["ready"]


def test_a_large_video_that_cannot_be_used_says_why_and_can_be_deleted(tab: Page, api: Api, tmp_path: Path) -> None:
    path = make_video(tmp_path / "first.mp4", *FRAGMENTED, pad_to=LARGE)
    path.write_bytes(path.read_bytes() + make_video(tmp_path / "second.mp4", *FRAGMENTED, size="320x180").read_bytes())
    begin(tab, path)
    item = tab.get_by_test_id("game-item")
    expect(item).to_contain_text("This video cannot be used. The file consists of several videos", timeout=SENT_MS)
    expect(item.get_by_role("button", name="Look through Match again")).to_have_count(0)
    item.get_by_role("button", name="Delete Match").click()
    tab.get_by_role("button", name="Delete", exact=True).click()
    expect(item).to_have_count(0)
    assert api.call("GET", "/api/games")["games"] == []


def test_a_video_that_could_not_be_read_is_looked_through_again(tab: Page, tmp_path: Path) -> None:
    shown = Shown(tab)
    shown.instead = {"status": "failed", "reason": "Object storage: R2 is down", "duration": None}
    begin(tab, make_video(tmp_path / "large.mp4", *FRAGMENTED, pad_to=LARGE))
    item = tab.get_by_test_id("game-item")
    expect(item).to_contain_text("The video could not be looked through. Object storage: R2 is down", timeout=SENT_MS)

    def again(route: Route) -> None:
        shown.instead = {}  # Not before the click: a refresh of the list would take the button away.
        route.continue_()

    tab.route(re.compile("finalize-upload"), again)
    with tab.expect_response(re.compile("finalize-upload"), timeout=SENT_MS):
        item.get_by_role("button", name="Look through Match again").click()
    expect(item).to_have_attribute("data-status", "ready", timeout=SENT_MS)
