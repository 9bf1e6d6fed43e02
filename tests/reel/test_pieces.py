"""A clip that is made in pieces is the clip that is made at once: every frame, and sound without a gap."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path

import pytest
from tests.reel.cells import CELLS
from tests.reel.matrix import Cell, OneFile, at_frame, look, make_source

from reel import render
from reel.payloads import ExtractClip
from reel.render import extract_clip, split_frames
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
    monkeypatch.setattr(render, "PIECE_SECONDS", 1)
    monkeypatch.setattr(render, "KEEP_SECONDS", 1000.0)
    source = make_source(cell, tmp_path, tools)
    store = OneFile(source, tmp_path / "result.mp4")
    length_s = cell.made_s if cell.length_s is None else cell.length_s
    start_s, end_s = at_frame(0.4, cell.rate), at_frame(length_s - 0.4, cell.rate)
    job = ExtractClip("a/games/g/source", "a/clip.mp4", start_s, end_s)
    asyncio.run(extract_clip(job, store, tmp_path, tools=tools, deadline_s=120, kept=Nothing()))
    assert look(cell, store.result, start_s, end_s, tools) == ""


@pytest.mark.parametrize("frames", [1, 29, 30, 31, 44, 45, 60, 1000, 100_001])
@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001), Fraction(25)])
def test_all_frames_are_in_pieces_and_no_piece_is_tiny(
    frames: int, rate: Fraction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "PIECE_SECONDS", 1)
    counts = split_frames(frames, rate)
    assert sum(counts) == frames
    assert len(counts) == 1 or min(counts) >= rate / 2
    assert max(counts) < 1.6 * float(rate)
