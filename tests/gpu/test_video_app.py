"""The deployed functions on real video: what lies in the bucket afterwards is fetched and probed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import modal
import pytest
from tests.gpu.conftest import BUCKET, PREFIX
from tests.parity.modal.support import Stack, until

from reel.payloads import (
    PROGRESS_DICT,
    DetectItem,
    DetectPlayers,
    DetectPlayersResult,
    ExtractClip,
    ExtractClipResult,
    ReelClip,
    RenderOptions,
    RenderProgress,
    RenderReel,
    RenderReelResult,
    call_entry,
)
from reel.probe import probe
from reel.tools import Tools

Lookup = Callable[[str], Any]


async def test_a_clip_is_cut_into_the_same_bucket(
    function: Lookup, client: modal.Client, bucket: Any, source: str, tools: Tools, tmp_path: Path
) -> None:
    key = f"{PREFIX}/clips/c1.mp4"
    job = ExtractClip(source, key, start_s=1.0, end_s=3.0, quality="draft")
    call = await function("extract_clip").spawn.aio(job.to_dict())
    result = ExtractClipResult.from_dict(await call.get.aio(timeout=60))
    progress = modal.Dict.from_name(PROGRESS_DICT, client=client)
    assert await progress.get.aio(call_entry(key)) == call.object_id
    bucket.download_file(BUCKET, key, str(tmp_path / "clip.mp4"))
    media = await probe(tmp_path / "clip.mp4", tools=tools)
    assert media.duration_s == pytest.approx(2.0, abs=0.1)
    assert (media.video.codec, media.video.width, media.video.height) == ("h264", 640, 360)
    assert (result.output_key, result.size_bytes) == (key, (tmp_path / "clip.mp4").stat().st_size)


async def test_a_reel_is_joined_and_its_progress_can_be_read_by_anyone(
    function: Lookup, client: modal.Client, bucket: Any, source: str, tools: Tools, tmp_path: Path
) -> None:
    key = f"{PREFIX}/exports/e1.mp4"
    clips = (ReelClip("c1", source, 0.0, 1.5), ReelClip("c2", source, 3.0, 4.0))
    job = RenderReel("e1", key, clips, RenderOptions(overlay_text="Goal!", quality="draft"))
    call = await function("render_reel").spawn.aio(job.to_dict())
    again = modal.FunctionCall.from_id(call.object_id, client=client)
    result = RenderReelResult.from_dict(await again.get.aio(timeout=300))
    bucket.download_file(BUCKET, key, str(tmp_path / "reel.mp4"))
    media = await probe(tmp_path / "reel.mp4", tools=tools)
    assert media.duration_s == pytest.approx(2.5, abs=0.1)
    assert (media.video.width, media.video.height) == (854, 480)
    assert result.size_bytes == (tmp_path / "reel.mp4").stat().st_size
    progress = modal.Dict.from_name(PROGRESS_DICT, client=client)
    assert RenderProgress.from_dict(await progress.get.aio("e1")).progress == 1.0
    assert await progress.get.aio(call_entry(key)) == call.object_id


def test_a_render_goes_on_while_the_control_plane_is_away(
    gpu: Stack, function: Lookup, client: modal.Client, bucket: Any, source: str
) -> None:
    key = f"{PREFIX}/exports/e2.mp4"
    clips = tuple(ReelClip(f"c{number}", source, 0.0, 6.0) for number in range(2))
    call = function("render_reel").spawn(RenderReel("e2", key, clips, RenderOptions()).to_dict())
    # The function makes it when it reports for the first time, which may be later than this.
    progress = modal.Dict.from_name(PROGRESS_DICT, create_if_missing=True, client=client)
    until(lambda: (progress.get("e2") or {"progress": 0})["progress"] > 0.2, 300)
    gpu.stop("serve", signal.SIGKILL)
    gpu.start("serve")
    gpu.wait_until_ready()
    again = modal.FunctionCall.from_id(call.object_id, client=client)
    result = RenderReelResult.from_dict(again.get(timeout=300))
    assert result.duration_s == pytest.approx(12.0, abs=0.1)
    assert bucket.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == result.size_bytes
    (shown,) = [each for each in gpu.admin.get("/calls").json() if each["id"] == call.object_id]
    assert (shown["inputs"][0]["retries"], shown["inputs"][0]["crashes"]) == (0, 0), "it ran once"


async def test_a_moving_figure_is_found_where_it_is_and_items_keep_their_order(function: Lookup, source: str) -> None:
    items = (DetectItem("late", source, 4.0, 5.0), DetectItem("early", source, 0.0, 1.0))
    job = DetectPlayers(items, frames_per_item=2)
    found = DetectPlayersResult.from_dict(await function("detect_players").remote.aio(job.to_dict()))
    assert [item.item_id for item in found.items] == ["late", "early"]
    for item in found.items:
        assert len(item.frames) == 2
        for frame in item.frames:
            (box,) = frame.boxes
            centre = (box.x + box.width / 2) * 640
            assert centre == pytest.approx(40 + 80 * frame.time_s + 16, abs=16)
            assert box.y * 360 == pytest.approx(150, abs=12)
            assert box.height * 360 == pytest.approx(64, abs=16)


async def test_a_source_that_is_missing_is_said_to_be_missing(function: Lookup, bucket: Any) -> None:
    key = f"{PREFIX}/clips/never.mp4"
    job = ExtractClip(f"{PREFIX}/games/none/source.mp4", key, 0, 1)
    with pytest.raises(FileNotFoundError, match=r"games/none/source\.mp4"):
        await function("extract_clip").remote.aio(job.to_dict())
    assert bucket.list_objects_v2(Bucket=BUCKET, Prefix=key)["KeyCount"] == 0


async def test_a_text_file_is_no_video_and_nothing_is_stored(function: Lookup, bucket: Any) -> None:
    source, key = f"{PREFIX}/games/text/source.mp4", f"{PREFIX}/exports/text.mp4"
    bucket.put_object(Bucket=BUCKET, Key=source, Body=b"not a video" * 1000)
    job = RenderReel("text", key, (ReelClip("c", source, 0, 1),))
    call = await function("render_reel").spawn.aio(job.to_dict())
    with pytest.raises(ValueError, match=r"(?i)not a video|no video|cannot be read"):
        await call.get.aio(timeout=300)
    assert bucket.list_objects_v2(Bucket=BUCKET, Prefix=key)["KeyCount"] == 0


async def test_a_payload_of_another_shape_is_refused_by_field(function: Lookup) -> None:
    with pytest.raises(ValueError, match="source_key"):
        await function("extract_clip").remote.aio({"output_key": "staging/x", "start_s": 0, "end_s": 1})
