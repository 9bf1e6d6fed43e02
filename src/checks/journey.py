"""The steps of normal use, for the own checks: upload a video, cut clips, make a reel, export and download it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from parity.checks.media import Media, Probe
from parity.checks.person import Person
from parity.contract import Refused

OVER = frozenset({"complete", "failed", "cancelled"})
POLL_S = 0.3
# What a conflict's Retry-After says, in seconds, and how often a request is repeated for it.
RETRY_AFTER_S = 1.0
REPEATS = 5
T = TypeVar("T")
# Seconds that rendering a few seconds of video may take on a busy host.
RENDER_S = 300.0
# Seconds that reading a video of some MB may take on a busy host.
INSPECT_S = 200.0
# Tolerance of a duration, in seconds: encoders add padding at both ends of each clip.
TOLERANCE_S = 0.35
SMALL, SMALL_SECONDS = "640x360", 6
DRAFT_FRAME = (854, 480)
# The ETag of an empty object, without quotes. The app leaves one where the URL of an upload may still be good: it only
# creates objects, so it cannot be used again.
EMPTY = hashlib.md5(usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Cut:
    """A clip: seconds from the start of the video."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


SMALL_CUTS = (Cut(0.5, 2.0), Cut(3.0, 4.5))


def profile_prefix(person: Person) -> str:
    """The prefix of this person's profile in the bucket."""
    return f"{person.owns}profiles/{person.api.headers['X-Profile-ID']}/"


async def prepare(person: Person, size: int) -> Mapping[str, Any]:
    """Announce a video of ``size`` bytes, and return the answer of prepare-upload."""
    wanted = {"name": "check", "filename": "check.mp4", "content_type": "video/mp4", "size": size}
    prepared: Mapping[str, Any] = await person.api.call("POST", "/api/games/prepare-upload", wanted, expect=201)
    return prepared


async def upload(person: Person, video: Path) -> Mapping[str, Any]:
    """Upload a small video with one presigned PUT, and return the game as the API shows it."""
    data = video.read_bytes()
    prepared = await prepare(person, len(data))
    await person.api.send_file(prepared["upload"]["url"], data, headers=prepared["upload"]["headers"])
    return await finalize(person, prepared["game_id"])


async def finalize(person: Person, game_id: str, parts: Sequence[Mapping[str, Any]] = ()) -> Mapping[str, Any]:
    """End an upload, and return the game as soon as it is not `inspecting` any more."""
    body = {"parts": list(parts)}
    game: Mapping[str, Any] = await person.api.call("POST", f"/api/games/{game_id}/finalize-upload", body)
    end = time.monotonic() + INSPECT_S
    while game["status"] == "inspecting":
        assert time.monotonic() < end, f"game {game_id} is still inspected after {INSPECT_S:.0f} s"
        await asyncio.sleep(POLL_S)
        game = await person.api.call("GET", f"/api/games/{game_id}")
    return game


async def cut(person: Person, game_id: str, cuts: Sequence[Cut]) -> list[str]:
    """Create the clips, and return their ids."""
    made = []
    for number, one in enumerate(cuts, 1):
        body = {"game_id": game_id, "name": f"clip {number}", "start": one.start, "end": one.end}
        made.append((await person.api.call("POST", "/api/clips", body, expect=201))["id"])
    return made


async def extract(person: Person, clip: str) -> str:
    """Begin the extraction of one clip, and return the id of the job."""
    return str((await person.api.call("POST", f"/api/clips/{clip}/extract", expect=(200, 201, 202)))["id"])


async def repeated(request: Callable[[], Awaitable[T]]) -> T:
    """What ``request`` gives; repeated where another Machine wrote first (503 sync-conflict, docs/replication.md).

    Two Machines that are both told to serve one person claim the profile in turn. The page repeats such a request too.
    """
    for _ in range(REPEATS):
        try:
            return await request()
        except Refused as refused:
            if refused.status != 503:
                raise
        await asyncio.sleep(RETRY_AFTER_S)
    return await request()


async def start_export(person: Person, clips: Sequence[str], *, overlay: str, quality: str) -> str:
    """Begin the export of a reel of ``clips``, and return its id."""
    options = {"overlay_text": overlay, "aspect": "16:9", "quality": quality, "transition": "cut"}
    body = {"name": "check", "clip_ids": list(clips), "options": options}
    project = await person.api.call("POST", "/api/projects", body, expect=201)
    return str((await person.api.call("POST", "/api/exports", {"project_id": project["id"]}, expect=202))["id"])


async def until_over(person: Person, path: str, within_s: float = RENDER_S) -> Mapping[str, Any]:
    """Wait until the job at ``path`` has ended, at most ``within_s`` seconds, and return it."""
    end = time.monotonic() + within_s
    while True:
        job: Mapping[str, Any] = await person.api.call("GET", path)
        if job["status"] in OVER:
            return job
        assert time.monotonic() < end, (
            f"{path} is still {job['status']} at {job['progress']:.0%} after {within_s:.0f} s"
        )
        await asyncio.sleep(POLL_S)


async def signed_url(person: Person, key: str) -> str:
    """A presigned URL of a key below the profile."""
    return str((await person.api.call("GET", "/api/storage/url", params={"key": key}))["url"])


async def download(person: Person, media: Media, key: str, folder: Path) -> Probe:
    """Download a file by a presigned GET, and return its properties by ffprobe."""
    answer = await person.api.http.get(await signed_url(person, key))
    assert answer.status_code == 200, f"the presigned GET of {key} answered {answer.status_code}: {answer.text[:300]}"
    path = folder / "downloaded.mp4"
    path.write_bytes(answer.content)
    return await media.probe(path)


def wrong_with_reel(probe: Probe, seconds: float, frame: tuple[int, int]) -> list[str]:
    """A reel is H.264 with AAC, as long as its clips together, in the frame that was asked for."""
    wrong = []
    if (probe.video, probe.audio) != ("h264", "aac"):
        wrong.append(f"the reel is {probe.video}/{probe.audio or 'silent'}, h264/aac expected")
    if abs(probe.duration_s - seconds) > TOLERANCE_S:
        wrong.append(f"the reel lasts {probe.duration_s:.2f} s, its clips {seconds:.2f} s")
    if (probe.width, probe.height) != frame:
        wrong.append(f"the reel is {probe.width}×{probe.height}, {frame[0]}×{frame[1]} expected")
    return wrong
