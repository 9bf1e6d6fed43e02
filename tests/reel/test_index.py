"""An MP4 whose index contradicts itself has the right length, or is refused with the reason."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.backend.media.test_inspect import look, make, rebuilt
from tests.reel.matrix import OneFile

from reel.boxes import children
from reel.errors import UnusableVideo
from reel.payloads import ExtractClip
from reel.render import extract_clip
from reel.tools import find_tools

SECONDS = 6
TICKS = 12800  # of a second of the picture, as ffmpeg writes 25 frames a second
Changes = Mapping[str, Callable[[bytes], bytes]]


def length(value: int) -> Callable[[bytes], bytes]:
    """A box mvhd or mdhd (version 0) with another length."""
    return lambda body: body[:16] + struct.pack(">I", value) + body[20:]


def edits(*entries: tuple[int, int]) -> Callable[[bytes], bytes]:
    """An edit list: the length of each edit in milliseconds, and where it begins, in ticks (-1: empty)."""
    packed = b"".join(struct.pack(">IiI", long_ms, begins, 1 << 16) for long_ms, begins in entries)
    return lambda _: struct.pack(">II", 0, len(entries)) + packed


def changed(tmp_path: Path, changes: Changes, *options: str) -> Path:
    data = make(tmp_path / "whole.mp4", SECONDS, "-an", "-bf", "0", *options).read_bytes()
    path = tmp_path / "changed.mp4"
    path.write_bytes(with_edits(data, changes["elst"]) if "elst" in changes else rebuilt(data, changes))
    return path


def with_edits(data: bytes, make_list: Callable[[bytes], bytes], role: bytes = b"vide") -> bytes:
    """The MP4 with this edit list in its tracks of this role, and none in others."""
    out = b""
    for kind, start, end in children(data, 0, len(data)):
        body = data[start:end]
        if kind in ("moov", "trak"):
            body = with_edits(body, make_list, role)
        if kind == "mdia" and role in body:
            content = make_list(b"")
            out += struct.pack(">I4sI4s", len(content) + 16, b"edts", len(content) + 8, b"elst") + content
        if kind != "edts":
            out += struct.pack(">I4s", len(body) + 8, kind.encode()) + body
    return out


@pytest.mark.parametrize(
    ("changes", "expected_s"),
    [
        ({"mvhd": length(0)}, 6),
        ({"mvhd": length(1000)}, 6),
        ({"mvhd": length(1_000_000_000)}, 6),
        ({"mvhd": length(0xFFFFFFFF)}, 6),
        ({"mdhd": length(0)}, 6),
        ({"mdhd": length(0xFFFFFFFF)}, 6),
        ({"mdhd": length(600 * TICKS)}, 6),
        ({"elst": edits((4000, 0))}, 4),
        ({"elst": edits((2000, 2 * TICKS))}, 2),
        ({"elst": edits((1000, -1), (6000, 0))}, 6),  # as in any container, time counts from the first picture
        ({"elst": edits((2000, 0), (2000, 4 * TICKS))}, 4),
        ({"elst": edits((50_000, 0))}, 6),
        ({"elst": edits()}, 6),
    ],
)
async def test_the_length_is_that_of_the_samples_and_edits(changes: Changes, expected_s: int, tmp_path: Path) -> None:
    path = changed(tmp_path, changes)
    assert (await look(path, tmp_path)).duration_s == pytest.approx(expected_s, abs=0.05)
    job = ExtractClip("a/games/g/source", "a/clip.mp4", expected_s - 0.4, float(expected_s))
    store = OneFile(path, tmp_path / "result.mp4")
    await extract_clip(job, store, tmp_path, tools=find_tools(), deadline_s=600)
    assert (await look(store.result, tmp_path)).duration_s == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("entries", [((0, 0),), ((0, TICKS),), ((1000, -1),), ((5000, 100 * TICKS),)])
async def test_edits_that_show_nothing_are_refused(entries: tuple[tuple[int, int], ...], tmp_path: Path) -> None:
    with pytest.raises(UnusableVideo, match="shows nothing of the picture"):
        await look(changed(tmp_path, {"elst": edits(*entries)}), tmp_path)


@pytest.mark.parametrize("role", [b"vide", b"soun"])
async def test_edits_with_a_pause_in_the_middle_are_refused(role: bytes, tmp_path: Path) -> None:
    data = make(tmp_path / "whole.mp4", SECONDS, "-bf", "0").read_bytes()
    path = tmp_path / "paused.mp4"
    for pause_ms in (1000, 0):
        path.write_bytes(with_edits(data, edits((500, -1), (2000, 0), (pause_ms, -1), (3000, 2 * TICKS)), role))
        if pause_ms:
            with pytest.raises(UnusableVideo, match="a pause in the middle"):
                await look(path, tmp_path)
        else:
            await look(path, tmp_path)


async def test_a_track_that_claims_to_end_before_its_last_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableVideo, match=r"lasts 1\.000 s and has a frame at 5\.960 s"):
        await look(changed(tmp_path, {"mdhd": length(TICKS)}), tmp_path)


@pytest.mark.parametrize("options", [(), ("-movflags", "+negative_cts_offsets"), ("-use_editlist", "0")])
async def test_b_frames_of_a_variable_rate_are_decoded_long_before_they_are_shown(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    slow_then_fast = ("-vf", "select='gte(n,75)+not(mod(n,10))'", "-fps_mode", "vfr")
    path = make(tmp_path / "variable.mp4", SECONDS, "-an", "-bf", "4", *slow_then_fast, *options)
    assert (await look(path, tmp_path)).duration_s == pytest.approx(SECONDS, abs=0.1)


def compressed(data: bytes, at: slice = slice(None)) -> bytes:
    """The MP4 with its index compressed, and only a part of that index."""
    out = b""
    for kind, start, end in children(data, 0, len(data)):
        body = data[start:end]
        if kind == "moov":
            inner = struct.pack(">I4s", len(body) + 8, b"moov") + body
            packed = struct.pack(">I", len(inner)) + zlib.compress(inner)[at]
            size = len(packed)
            body = struct.pack(">I4sI4s4sI4s", size + 28, b"cmov", 12, b"dcom", b"zlib", size + 8, b"cmvd") + packed
        out += struct.pack(">I4s", len(body) + 8, kind.encode()) + body
    return out


async def test_a_compressed_index_is_checked_like_any_other(tmp_path: Path) -> None:
    data = make(tmp_path / "whole.mov", SECONDS, "-an").read_bytes()
    path = tmp_path / "compressed.mov"
    path.write_bytes(compressed(data))
    assert (await look(path, tmp_path)).duration_s == pytest.approx(SECONDS, abs=0.05)
    path.write_bytes(compressed(rebuilt(data, {"mdat": lambda body: bytes(len(body))})))
    with pytest.raises(UnusableVideo, match="only zeros"):
        await look(path, tmp_path)
    path.write_bytes(compressed(data, slice(100, None)))
    with pytest.raises(UnusableVideo, match="compressed index cannot be read"):
        await look(path, tmp_path)
