"""The three jobs: payload in, result out, both plain dicts; errors are such that the app can unpickle them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from reel.errors import ReelError, UnusableVideo
from reel.ffmpeg import SAFE_DEMUXERS, from_key_frame
from reel.media import MediaInfo
from reel.payloads import (
    DetectedFrame,
    DetectedItem,
    DetectItem,
    DetectPlayers,
    DetectPlayersResult,
    ExtractClip,
    RenderReel,
)
from reel.probe import probe
from reel.render import MediaStore, Report, extract_clip, render_reel
from reel.run import read_output
from reel.seek import seek_point
from reel.tools import Tools, find_tools
from video_jobs.motion import HEIGHT, WIDTH, moving_boxes, sample_times

# Of one run of ffmpeg, within the timeouts of the functions.
EXTRACT_DEADLINE_S: Final = 240.0
RENDER_DEADLINE_S: Final = 1500.0
FRAME_DEADLINE_S: Final = 30.0
_FRAME_STEP_S = 0.1


async def extract(payload: dict[str, Any], store: MediaStore) -> dict[str, Any]:
    """Cut one clip."""
    job = ExtractClip.from_dict(payload)
    with _plain_errors(), _workdir() as folder:
        # A preview is as long as its game.
        deadline_s = RENDER_DEADLINE_S if job.max_bytes else EXTRACT_DEADLINE_S
        made = await extract_clip(job, store, folder, tools=find_tools(), deadline_s=deadline_s)
    return made.to_dict()


async def render(payload: dict[str, Any], store: MediaStore, report: Report) -> dict[str, Any]:
    """Join clips into a reel."""
    job = RenderReel.from_dict(payload)
    with _plain_errors(), _workdir() as folder:
        made = await render_reel(
            job, store, folder, tools=find_tools(), deadline_s=RENDER_DEADLINE_S, report=report
        )  # fmt: skip
    return made.to_dict()


async def detect(payload: dict[str, Any], store: MediaStore) -> dict[str, Any]:
    """Look for what moves, in a batch of spans; each source is fetched once."""
    job = DetectPlayers.from_dict(payload)
    with _plain_errors(), _workdir() as folder:
        tools, sources = find_tools(), {}
        for number, key in enumerate(dict.fromkeys(item.source_key for item in job.items)):
            sources[key] = folder / f"source-{number}"
            await store.download(key, sources[key])
        items = [await _detect_item(item, sources[item.source_key], job.frames_per_item, tools) for item in job.items]
    return DetectPlayersResult(tuple(items)).to_dict()


def frame_pair_command(source: Path, media: MediaInfo, at_s: float, seek_s: float, tools: Tools) -> list[str]:
    """Two small grey frames, a tenth of a second apart, as raw bytes. ffmpeg reads from `seek_s` on (`reel.seek`)."""
    filters = [*from_key_frame(media), f"fps={1 / _FRAME_STEP_S:g}", f"scale={WIDTH}:{HEIGHT}", "format=gray"]
    return [
        *(tools.ffmpeg, "-nostdin", "-v", "error", "-threads", "1"),
        *("-format_whitelist", SAFE_DEMUXERS, "-protocol_whitelist", "file,pipe"),
        *(("-noaccurate_seek", "-ss", f"{seek_s:.3f}") if seek_s > 0 else ()),
        *("-i", f"file:{source}", "-ss", f"{at_s - seek_s:.3f}", "-map", f"0:{media.video.index}", "-frames:v", "2"),
        *("-vf", ",".join(filters), "-f", "rawvideo", "pipe:1"),
    ]


async def _detect_item(item: DetectItem, source: Path, count: int, tools: Tools) -> DetectedItem:
    media = await probe(source, tools=tools)
    if item.start_s >= media.duration_s:
        raise UnusableVideo(f"item {item.item_id} begins at {item.start_s:g} s of {media.duration_s:.2f} s")
    frames = []
    for at_s in sample_times(item.start_s, min(item.end_s, media.duration_s), count):
        # The last instant has no second frame to compare with.
        start_s = max(0.0, min(at_s, media.duration_s - 3 * _FRAME_STEP_S))
        in_file_s = media.video.zero_s + start_s
        seek_s = await seek_point(source, media, in_file_s, tools=tools, deadline_s=FRAME_DEADLINE_S)
        command = frame_pair_command(source, media, in_file_s, seek_s, tools)
        raw = await read_output(command, deadline_s=FRAME_DEADLINE_S)
        size = WIDTH * HEIGHT
        boxes = moving_boxes(raw[:size], raw[size:]) if len(raw) == 2 * size else ()
        frames.append(DetectedFrame(time_s=round(start_s, 3), boxes=boxes))
    return DetectedItem(item_id=item.item_id, frames=tuple(frames))


@contextmanager
def _workdir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="reel-") as folder:
        yield Path(folder)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """ValueError: this video will never do. RuntimeError: the work failed. Both unpickle anywhere."""
    try:
        yield
    except UnusableVideo as error:
        raise ValueError(str(error)) from None
    except (ReelError, TimeoutError, ConnectionError) as error:
        # From `FunctionCall.get` a TimeoutError would mean "not finished yet", and a ConnectionError "Modal cannot be
        # reached": the backend would ask again until the deadline of the job, although the function has failed.
        raise RuntimeError(str(error) or "a deadline passed") from None
