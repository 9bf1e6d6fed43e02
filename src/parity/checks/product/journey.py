"""The product's main job: a video goes up, clips are cut, a reel is made, the result comes down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parity.checks.kit.media import Probe
from parity.checks.kit.tools import Tools
from parity.checks.model import ProductFault
from parity.checks.product.caller import Caller

OVER = frozenset({"complete", "failed", "cancelled"})
POLL_S = 0.5


@dataclass(frozen=True)
class Cut:
    """A clip: seconds from the start of the video."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


async def upload(caller: Caller, video: Path) -> Mapping[str, Any]:
    """A small video by one presigned PUT. The game as the API shows it."""
    wanted = {
        "name": video.stem,
        "filename": video.name,
        "content_type": "video/mp4",
        "size": video.stat().st_size,
    }
    prepared = await caller.call("POST", "/api/games/prepare-upload", wanted)
    target = prepared["upload"]
    if target["method"] != "single":
        raise ProductFault(f"{wanted['size']} bytes are to go up as {target['method']}, a single PUT was expected")
    sent = await caller.tools.http.request("PUT", target["url"], content=video.read_bytes(), headers=target["headers"])
    if sent.status_code != 200:
        raise ProductFault(f"the presigned PUT answered {sent.status_code}: {sent.text[:300]}")
    game: Mapping[str, Any] = await caller.call(
        "POST", f"/api/games/{prepared['game_id']}/finalize-upload", {"parts": []}
    )
    return game


async def cut(caller: Caller, game_id: str, cuts: Sequence[Cut]) -> list[str]:
    """Ids of the clips."""
    made = []
    for number, one in enumerate(cuts, 1):
        body = {"game_id": game_id, "name": f"clip {number}", "start": one.start, "end": one.end}
        made.append((await caller.call("POST", "/api/clips", body))["id"])
    return made


async def start_export(caller: Caller, clips: Sequence[str], *, overlay: str, quality: str) -> str:
    """A reel of ``clips``; the export's id."""
    options = {"overlay_text": overlay, "aspect": "16:9", "quality": quality, "transition": "cut"}
    project = await caller.call("POST", "/api/projects", {"name": "check", "clip_ids": list(clips), "options": options})
    started: str = (await caller.call("POST", "/api/exports", {"project_id": project["id"]}))["id"]
    return started


async def until_over(caller: Caller, path: str, deadline_s: float) -> Mapping[str, Any]:
    """The job at ``path`` once nothing more will happen to it. Raises ``ProductFault`` at the deadline."""
    deadline = time.monotonic() + deadline_s
    while True:
        job: Mapping[str, Any] = await caller.call("GET", path)
        if job["status"] in OVER:
            return job
        if time.monotonic() > deadline:
            raise ProductFault(f"{path} is still {job['status']} at {job['progress']:.0%} after {deadline_s:.0f} s")
        await asyncio.sleep(POLL_S)


async def download(tools: Tools, caller: Caller, key: str) -> Probe:
    """The file behind a presigned GET, as ffprobe reads it."""
    url = (await caller.call("GET", f"/api/storage/url?key={key}"))["url"]
    answer = await tools.http.request("GET", url)
    if answer.status_code != 200:
        raise ProductFault(f"the presigned GET of {key} answered {answer.status_code}: {answer.text[:300]}")
    tools.media.folder.mkdir(parents=True, exist_ok=True)
    path = tools.media.folder / f"{tools.user}.mp4"
    path.write_bytes(answer.content)
    try:
        return await tools.media.probe(path)
    finally:
        path.unlink()
