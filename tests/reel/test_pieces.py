"""A clip that is made in pieces is the clip that is made at once: every frame, and sound without a gap."""

from __future__ import annotations

import asyncio
import math
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest
from tests.reel.cells import CELLS
from tests.reel.matrix import Cell, OneFile, at_frame, look, make_source

from reel import plan, render
from reel.payloads import ExtractClip, ReelClip, RenderOptions, RenderReel
from reel.plan import split_frames
from reel.render import extract_clip, render_reel
from reel.tools import Tools

NAMES = ("mp4", "ts", "flv", "phone-rate", "fields-top", "hlg", "ntsc-drop-frame", "changes-to-surround", "no-sound")


class Nothing:
    """A store of pieces that has none and keeps none."""

    async def fetch(self, name: str, path: Path) -> bool:
        return False

    async def keep(self, path: Path, name: str) -> None:
        raise AssertionError(f"{name} took no {render.KEEP_SECONDS} s")


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.name in NAMES], ids=lambda cell: cell.name)
def test_a_clip_in_pieces_is_right(cell: Cell, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PIECE_SECONDS", 1)
    monkeypatch.setattr(render, "KEEP_SECONDS", 1000.0)
    source = make_source(cell, tmp_path, tools)
    store = OneFile(source, tmp_path / "result.mp4")
    length_s = cell.made_s if cell.length_s is None else cell.length_s
    start_s, end_s = at_frame(0.4, cell.rate), at_frame(length_s - 0.4, cell.rate)
    job = ExtractClip("a/games/g/source", "a/clip.mp4", start_s, end_s)
    asyncio.run(extract_clip(job, store, tmp_path, tools=tools, deadline_s=600, kept=Nothing()))
    assert look(cell, store.result, start_s, end_s, tools) == ""


async def test_a_reel_in_pieces_is_the_reel_that_is_made_at_once(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "PIECE_SECONDS", 2)
    monkeypatch.setattr(render, "KEEP_SECONDS", 1000.0)
    source = make_source(next(cell for cell in CELLS if cell.name == "mp4"), tmp_path, tools)
    clips = tuple(ReelClip("c", "a/games/g/source", start_s, end_s) for start_s, end_s in ((0.42, 4.1), (3.0, 3.7)))
    job = RenderReel("e", "a/e.mp4", clips, RenderOptions("Hi", quality="draft", transition="fade"))
    made = []
    for name, kept in (("whole", None), ("pieces", Nothing())):
        (tmp_path / name).mkdir()
        store = OneFile(source, tmp_path / f"{name}.mp4")
        result = await render_reel(job, store, tmp_path / name, tools=tools, deadline_s=600, kept=kept)
        assert result.duration_s == pytest.approx(4.38, abs=0.05)
        made.append(store.result)
    assert len(list((tmp_path / "pieces").glob("piece-*.mov"))) == 3
    one, other = (picture(tools, path) for path in made)
    assert len(one) == len(other) == 131
    for number, (left, right) in enumerate(zip(one, other, strict=True)):
        assert sum(abs(a - b) for a, b in zip(left, right, strict=True)) / len(left) < 4, number
    one_sound, other_sound = (sound(tools, path) for path in made)
    assert abs(len(one_sound) - len(other_sound)) <= 1024
    assert max(abs(a - b) for a, b in zip(one_sound, other_sound, strict=False)) < 600


@pytest.mark.parametrize("codec", ["aac", "libmp3lame"])
def test_a_tone_goes_on_where_pieces_that_begin_at_key_frames_meet(
    codec: str, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "PIECE_SECONDS", 1)
    monkeypatch.setattr(render, "KEEP_SECONDS", 1000.0)
    source = tmp_path / "source.mp4"
    tone = "sine=f=441:r=44100:d=6,volume=3"
    inputs = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=6", "-f", "lavfi", "-i", tone]
    made = ["-g", "25", "-bf", "0", "-c:a", codec, str(source)]
    subprocess.run([tools.ffmpeg, "-v", "error", *inputs, *made], check=True)
    store = OneFile(source, tmp_path / "result.mp4")
    job = ExtractClip("a/games/g/source", "a/clip.mp4", 1.0, 5.0, "draft")
    asyncio.run(extract_clip(job, store, tmp_path, tools=tools, deadline_s=600, kept=Nothing()))
    heard = sound(tools, store.result)[4_800:187_200]
    # Each sample of a tone follows from the two before it.
    factor = 2 * math.cos(2 * math.pi * 441 / 48_000)
    clicks = [
        at / 48_000 + 0.1
        for at, (a, b, c) in enumerate(zip(heard, heard[1:], heard[2:], strict=False))
        if abs(c - factor * b + a) > 60
    ]
    assert clicks == []


def picture(tools: Tools, path: Path) -> list[bytes]:
    """Small grey frames."""
    raw = decoded(tools, path, "-vf", "scale=64:36,format=gray", "-f", "rawvideo")
    return [raw[at : at + 64 * 36] for at in range(0, len(raw), 64 * 36)]


def sound(tools: Tools, path: Path) -> memoryview:
    """Samples of 16 bits."""
    return memoryview(decoded(tools, path, "-vn", "-ac", "1", "-f", "s16le")).cast("h")


def decoded(tools: Tools, path: Path, *options: str) -> bytes:
    command = [tools.ffmpeg, "-v", "error", "-i", str(path), *options, "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize("frames", [1, 29, 30, 31, 44, 45, 60, 1000, 100_001])
@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001), Fraction(25)])
def test_all_frames_are_in_pieces_and_no_piece_is_tiny(
    frames: int, rate: Fraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "PIECE_SECONDS", 1)
    counts = split_frames(frames, rate)
    assert sum(counts) == frames
    assert len(counts) == 1 or min(counts) >= rate / 2
    assert max(counts) < 1.6 * float(rate)
