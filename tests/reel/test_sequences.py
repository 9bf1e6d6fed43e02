"""A transport stream whose picture changes its form in the middle is cut right, or refused if no cut can be right."""

from __future__ import annotations

import asyncio
import math
import subprocess
from functools import partial
from pathlib import Path

import pytest
from tests.reel import matrix
from tests.reel.cells import FIELDS_TOP
from tests.reel.matrix import Cell, OneFile

from app.games.validation import inspect
from reel.errors import UnusableVideo
from reel.payloads import ExtractClip
from reel.render import extract_clip
from reel.scan import COLOURS_CHANGE
from reel.sequences import Headers
from reel.tools import Tools

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "12")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:keyint=12")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "3")
SD, HD = "320x180", "1280x720"


def tags(primaries: str, transfer: str, matrix: str, pixels: str = "yuv420p", levels: str = "tv") -> tuple[str, ...]:
    colours = ("-color_primaries", primaries, "-color_trc", transfer, "-colorspace", matrix, "-color_range", levels)
    return (*colours, "-pix_fmt", pixels)


SDR = tags("bt709", "bt709", "bt709")
BT601 = tags("bt470bg", "smpte170m", "bt470bg")
HLG = tags("bt2020", "arib-std-b67", "bt2020nc", "yuv420p10le")
PQ = tags("bt2020", "smpte2084", "bt2020nc", "yuv420p10le")
FULL = tags("bt709", "bt709", "bt709", levels="pc")
NONE = ("-pix_fmt", "yuv420p")
Part = tuple[str, tuple[str, ...], tuple[str, ...]]


def joined(parts: tuple[Part, ...], folder: Path, tools: Tools, *, packet: int = 188) -> Path:
    """A transport stream of parts of two seconds each, with one clock."""
    data = b""
    for number, (size, encode, colours) in enumerate(parts):
        made = folder / f"part-{number}.ts"
        picture = f"testsrc2=size={size}:rate=25:duration=2"
        command = [tools.ffmpeg, "-v", "error", "-f", "lavfi", "-i", picture, *encode, *colours, "-threads", "1"]
        form = ["-mpegts_m2ts_mode", str(int(packet == 192)), "-output_ts_offset", str(2 * number)]
        subprocess.run([*command, "-f", "mpegts", *form, str(made)], check=True)
        data += made.read_bytes()
    path = folder / "joined.ts"
    path.write_bytes(data)
    return path


def refused(path: Path) -> str:
    store = OneFile(path, path)
    read = partial(store.get_range, "k")
    try:
        asyncio.run(inspect(read, path.stat().st_size, path.parent / "inspect", at_most=math.inf))
    except UnusableVideo as error:
        return str(error)
    return ""


@pytest.mark.parametrize("packet", [188, 192])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        ((SD, HEVC, SDR), (SD, HEVC, HLG)),
        ((SD, HEVC, HLG), (SD, HEVC, SDR)),
        ((SD, HEVC, HLG), (SD, HEVC, PQ)),
        ((SD, H264, SDR), (SD, H264, HLG)),
        ((SD, H264, SDR), (SD, H264, FULL)),
        ((SD, H264, BT601), (HD, H264, SDR)),
        ((SD, H264, NONE), (HD, H264, NONE)),
        ((SD, MPEG2, BT601), (HD, MPEG2, SDR)),
    ],
)
def test_other_colours_in_the_middle_are_refused(
    first: Part, then: Part, packet: int, tools: Tools, tmp_path: Path
) -> None:
    assert refused(joined((first, then, first), tmp_path, tools, packet=packet)) == COLOURS_CHANGE


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ((SD, H264, SDR), (HD, H264, SDR)),
        ((HD, H264, NONE), (HD, H264, SDR)),
        ((SD, HEVC, SDR), (SD, (*HEVC[:-1], "log-level=error:keyint=25:bframes=0"), SDR)),
        ((SD, MPEG2, SDR), (SD, (*MPEG2, "-b:v", "9M", "-g", "3"), SDR)),
    ],
)
def test_another_size_or_another_way_to_code_is_not(first: Part, then: Part, tools: Tools, tmp_path: Path) -> None:
    assert refused(joined((first, then, first), tmp_path, tools)) == ""


def test_each_header_is_compared_once(tools: Tools, tmp_path: Path) -> None:
    data = joined(((SD, H264, SDR), (SD, H264, HLG)) * 2, tmp_path, tools).read_bytes()
    headers = Headers(188)
    for at in range(0, len(data), 188 * 1000):
        headers.look(data[at : at + 188 * 1000], {0x100: 0x1B})
    parts = 0, len((tmp_path / "part-0.ts").read_bytes())
    assert headers.doubtful == [part + 3 * 188 for part in parts]  # behind its tables


@pytest.mark.parametrize("fields_first", [False, True])
def test_fields_that_begin_or_end_in_the_middle_are_not_woven(fields_first: bool, tools: Tools, tmp_path: Path) -> None:
    plain = Cell("plain", "ts")
    fields = Cell("fields", "ts", **FIELDS_TOP)  # type: ignore[arg-type]
    sources = [matrix.make_source(cell, tmp_path, tools) for cell in (plain, fields)]
    first, second = reversed(sources) if fields_first else sources
    later = tmp_path / "later.ts"
    environment = {"GCONV_PATH": "/nonexistent"}
    move = ["-c", "copy", "-output_ts_offset", "6", str(later)]
    subprocess.run([tools.ffmpeg, "-v", "error", "-i", str(second), *move], check=True, env=environment)
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + later.read_bytes())
    assert refused(both) == ""
    store = OneFile(both, tmp_path / "result.mp4")
    begin = 1.0 if fields_first else 7.0
    job = ExtractClip("a/games/g/source", "a/clip.mp4", begin, begin + 1)
    asyncio.run(extract_clip(job, store, tmp_path, tools=tools, deadline_s=600))
    scale = f"scale={matrix.WIDTH}:{matrix.HEIGHT},format=rgb24"
    view = [tools.ffmpeg, "-v", "error", "-i", str(store.result), "-vf", scale, "-f", "rawvideo", "-"]
    raw = subprocess.run(view, check=True, capture_output=True).stdout
    length = matrix.WIDTH * matrix.HEIGHT * 3
    frames = [raw[at : at + length] for at in range(0, len(raw), length)]
    assert len(frames) == 25
    assert [place for place, frame in enumerate(frames) if matrix._is_combed(frame)] == []
