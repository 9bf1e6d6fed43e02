"""Sound of every layout is as loud in a reel as a player plays it, and never distorted."""

from __future__ import annotations

import array
import asyncio
import subprocess
from pathlib import Path

import pytest
from tests.reel.matrix import OneFile

from reel.payloads import ExtractClip, ReelClip, RenderOptions, RenderReel
from reel.render import extract_clip, render_reel
from reel.tools import Tools

TONE = "0.25*sin(2*PI*440*t)"
LOUD = "0.9*sin(2*PI*440*t)"
# What a tone of 0.25 in these channels comes out as on the left and on the right (ITU-R BS.775-3, annex 4, table 2).
MIXED = {
    "mono": (f"aevalsrc={TONE}:s=48000:d=2", 0.25, 0.25),
    "stereo": (f"aevalsrc={TONE}|{TONE}:s=48000:d=2", 0.25, 0.25),
    "stereo-left": (f"aevalsrc={TONE}|0:s=48000:d=2", 0.25, 0.0),
    "front": (f"aevalsrc={TONE}|{TONE}|0|0|0|0:c=5.1:s=48000:d=2", 0.25, 0.25),
    "centre": (f"aevalsrc=0|0|{TONE}|0|0|0:c=5.1:s=48000:d=2", 0.177, 0.177),
    "low-frequency-effects": (f"aevalsrc=0|0|0|{TONE}|0|0:c=5.1:s=48000:d=2", 0.0, 0.0),
    "back-right": (f"aevalsrc=0|0|0|0|0|{TONE}:c=5.1:s=48000:d=2", 0.0, 0.177),
    "quad": (f"aevalsrc={TONE}|{TONE}|0|0:c=quad:s=48000:d=2", 0.25, 0.25),
    "eight-channels": (f"aevalsrc={TONE}|{TONE}|0|0|0|0|0|0:c=7.1:s=48000:d=2", 0.25, 0.25),
}


def make(source: str, path: Path, tools: Tools) -> Path:
    picture = ["-f", "lavfi", "-i", "color=c=gray:size=64x64:rate=25:duration=2"]
    command = [tools.ffmpeg, "-v", "error", "-y", *picture, "-f", "lavfi", "-i", source]
    subprocess.run([*command, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "pcm_s16le", str(path)], check=True)
    return path


def samples(path: Path, tools: Tools) -> tuple[list[int], list[int]]:
    command = [tools.ffmpeg, "-v", "error", "-i", str(path), "-f", "s16le", "-ac", "2", "-ar", "48000", "-"]
    both = array.array("h", subprocess.run(command, check=True, capture_output=True).stdout)
    return list(both[0::2]), list(both[1::2])


def peak(values: list[int]) -> float:
    """Of the middle half, away from what an encoder does at the ends."""
    return max(map(abs, values[len(values) // 4 : len(values) * 3 // 4])) / 32768


@pytest.mark.parametrize("layout", MIXED)
def test_a_tone_comes_out_as_loud_as_a_player_plays_it(layout: str, tools: Tools, tmp_path: Path) -> None:
    source, left, right = MIXED[layout]
    store = OneFile(make(source, tmp_path / "source.mov", tools), tmp_path / "result.mp4")
    job = ExtractClip("a/games/g/source", "a/clip.mp4", 0.2, 1.8)
    asyncio.run(extract_clip(job, store, tmp_path, tools=tools, deadline_s=600))
    found = [peak(side) for side in samples(store.result, tools)]
    assert found == pytest.approx([left, right], abs=0.02)


def test_surround_and_stereo_and_mono_are_equally_loud_in_one_reel(tools: Tools, tmp_path: Path) -> None:
    paths = {name: make(MIXED[name][0], tmp_path / f"{name}.mov", tools) for name in ("front", "stereo", "mono")}

    class Files:
        async def download(self, key: str, path: Path) -> None:
            path.write_bytes(paths[key.split("/")[-2]].read_bytes())

        async def upload(self, path: Path, key: str, content_type: str) -> None:
            path.rename(tmp_path / "reel.mp4")

    clips = tuple(ReelClip(name, f"a/{name}/source", 0.5, 1.5) for name in paths)
    work = tmp_path / "work"
    work.mkdir()
    reel = RenderReel("e", "a/reel.mp4", clips, RenderOptions(quality="draft"))
    asyncio.run(render_reel(reel, Files(), work, tools=tools, deadline_s=600))
    left, _ = samples(tmp_path / "reel.mp4", tools)
    found = [peak(left[second * 48_000 : (second + 1) * 48_000]) for second in range(3)]
    assert found == pytest.approx([0.25] * 3, abs=0.02)


def test_six_loud_channels_are_limited_and_not_clipped(tools: Tools, tmp_path: Path) -> None:
    source = f"aevalsrc={'|'.join([LOUD] * 6)}:c=5.1:s=48000:d=2"
    store = OneFile(make(source, tmp_path / "source.mov", tools), tmp_path / "result.mp4")
    job = ExtractClip("a/games/g/source", "a/clip.mp4", 0.2, 1.8)
    asyncio.run(extract_clip(job, store, tmp_path, tools=tools, deadline_s=600))
    left, _ = samples(store.result, tools)
    assert 0.85 < peak(left) < 1
    middle = left[len(left) // 2 :][:4800]
    # A clipped sine is flat at its tops; this one is round.
    assert sum(abs(value) > 0.95 * max(middle) for value in middle) < len(middle) / 4
