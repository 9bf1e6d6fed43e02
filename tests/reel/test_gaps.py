"""Where a transport stream lacks a stretch, or its clock goes back a little, what follows keeps its time."""

from __future__ import annotations

import asyncio
import os
import subprocess
from functools import partial
from pathlib import Path

import pytest
from tests.reel import matrix
from tests.reel.matrix import FRAMES, HEIGHT, RATE, WIDTH, Cell, OneFile

from app.games.validation import inspect
from reel.payloads import ExtractClip
from reel.render import extract_clip
from reel.tools import Tools

PART_S = FRAMES / RATE
BEGINS_S = 0.06
"""ffmpeg writes a copy so much earlier than it was asked to: its decoding times begin at the offset."""


@pytest.mark.parametrize("gap_s", [-1.0, -0.32, 0.0, 8.0, 20.0])
def test_a_clip_across_a_gap_shows_each_frame_at_its_time(gap_s: float, tools: Tools, tmp_path: Path) -> None:
    source = matrix.make_source(Cell("part", "ts"), tmp_path, tools)
    second, both = tmp_path / "second.ts", tmp_path / "both.ts"
    again_s = PART_S + gap_s
    copy = [tools.ffmpeg, "-v", "error", "-i", str(source), "-c", "copy", "-output_ts_offset", str(again_s + BEGINS_S)]
    subprocess.run([*copy, str(second)], check=True, env={**os.environ, "GCONV_PATH": "/nonexistent"})
    both.write_bytes(source.read_bytes() + second.read_bytes())
    store = OneFile(both, tmp_path / "result.mp4")
    size = both.stat().st_size
    media = asyncio.run(inspect(partial(store.get_range, "k"), size, tmp_path / "inspect", at_most=size))
    assert media is not None
    assert media.duration_s == pytest.approx(again_s + PART_S, abs=1 / RATE)

    begin_s = again_s - 1
    job = ExtractClip("a/games/g/source", "a/clip.mp4", begin_s, again_s + PART_S)
    asyncio.run(extract_clip(job, store, tmp_path, tools=tools, deadline_s=600))
    frames = decoded(store.result, tools)
    shown = [matrix._number(frame) for frame in frames]
    at_s = [begin_s + place / RATE for place in range(len(frames))]
    assert len(frames) == pytest.approx((PART_S + 1) * RATE, abs=1)
    for time_s, number in zip(at_s, shown, strict=True):
        first, later = round(time_s * RATE), round((time_s - again_s) * RATE)
        # Where the two overlap, either is right.
        wanted = [first] if time_s < min(PART_S, again_s) else [FRAMES - 1] if time_s < again_s else [later]
        wanted += [first] if again_s <= time_s < PART_S else []
        assert any(abs(number - one) <= 2 for one in wanted), (time_s, shown)
    louder_s = [at for at in louder(store.result, tools) if at > 2]
    assert louder_s == [pytest.approx(1 + PART_S / 2, abs=0.09)]


def decoded(clip: Path, tools: Tools) -> list[bytes]:
    view = [tools.ffmpeg, "-v", "error", "-i", str(clip), "-vf", f"scale={WIDTH}:{HEIGHT},format=rgb24"]
    raw = subprocess.run([*view, "-f", "rawvideo", "-"], check=True, capture_output=True).stdout
    length = WIDTH * HEIGHT * 3
    return [raw[at : at + length] for at in range(0, len(raw), length)]


def louder(clip: Path, tools: Tools) -> list[float]:
    """When the sound becomes louder, in seconds."""
    command = [tools.ffmpeg, "-v", "error", "-i", str(clip), "-f", "s16le", "-ac", "2", "-ar", "8000", "-"]
    peaks = matrix._blocks(memoryview(subprocess.run(command, check=True, capture_output=True).stdout).cast("h"))
    loud = [peak > max(peaks) / 3 for peak in peaks]
    return [at / 100 for at in range(1, len(loud)) if loud[at] and not loud[at - 1]]
