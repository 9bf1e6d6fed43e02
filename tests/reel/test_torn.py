"""Where bytes in the middle of a file are damaged, the last picture stays, and what follows keeps its time."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from tests.reel import matrix
from tests.reel.cells import MP3
from tests.reel.matrix import FRAMES, RATE, SDR, Cell, OneFile
from tests.reel.test_gaps import decoded, louder

from app.games.validation import inspect
from reel.errors import UnusableVideo
from reel.payloads import ExtractClip
from reel.render import extract_clip
from reel.tools import Tools

GOP = 10
SIZE = ("-b:v", "6M", "-minrate", "6M", "-maxrate", "6M", "-bufsize", "3M", "-g", str(GOP))
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "nal-hrd=cbr", *SDR, *SIZE)
MJPEG = ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p")


@pytest.mark.parametrize("zeros", [False, True], ids=["random", "zeros"])
@pytest.mark.parametrize(
    ("suffix", "video", "audio"),
    [
        ("mkv", X264, ("-c:a", "aac")),
        ("ts", X264, ("-c:a", "aac")),
        ("avi", (*X264, "-bf", "0"), MP3),
        ("avi", MJPEG, MP3),
    ],
)
def test_what_follows_a_damaged_stretch_keeps_its_time(
    suffix: str, video: Sequence[str], audio: Sequence[str], zeros: bool, tools: Tools, tmp_path: Path
) -> None:
    whole = matrix.make_source(Cell("whole", suffix, video=video, audio=audio), tmp_path, tools)
    path = damaged(whole, 0.3, 0.4, zeros=zeros)
    shown = cut(path, 0.0, FRAMES / RATE, tools)
    wrong = [place for place, number in enumerate(shown) if abs(number - place) > 1]
    assert len(shown) == FRAMES
    assert wrong
    assert min(wrong) > 0.25 * FRAMES
    assert max(wrong) < 0.45 * FRAMES + GOP
    assert louder(tmp_path / "result.mp4", tools)[-1] == pytest.approx(FRAMES / RATE / 2, abs=0.09)


def test_an_flv_with_a_damaged_stretch_is_refused(tools: Tools, tmp_path: Path) -> None:
    whole = matrix.make_source(Cell("whole", "flv", video=X264), tmp_path, tools)
    with pytest.raises(UnusableVideo, match="neither a picture nor sound begins at byte"):
        cut(damaged(whole, 0.3, 0.4), 0.0, 1.0, tools)


def test_an_avi_that_ends_within_its_index_is_cut_up_to_its_end(tools: Tools, tmp_path: Path) -> None:
    whole = matrix.make_source(Cell("whole", "avi", video=MJPEG, audio=("-c:a", "pcm_s16le")), tmp_path, tools)
    data = whole.read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(data[: (data.rindex(b"idx1") + len(data)) // 2])
    assert cut(path, 5.0, 6.0, tools) == pytest.approx(range(125, 150), abs=1)


def damaged(whole: Path, first: float, behind: float, *, zeros: bool = False) -> Path:
    """The file with other bytes between two fractions of its length."""
    data = bytearray(whole.read_bytes())
    start, end = int(first * len(data)), int(behind * len(data))
    data[start:end] = bytes(end - start) if zeros else random.Random(1).randbytes(end - start)
    path = whole.with_name(f"damaged{whole.suffix}")
    path.write_bytes(data)
    return path


def cut(path: Path, start_s: float, end_s: float, tools: Tools) -> list[int]:
    """The numbers that the frames of a clip show."""
    store = OneFile(path, path.with_name("result.mp4"))
    size, folder = path.stat().st_size, path.parent
    assert asyncio.run(inspect(partial(store.get_range, "k"), size, folder / "inspect", at_most=math.inf))
    job = ExtractClip("a/games/g/source", "a/clip.mp4", start_s, end_s)
    asyncio.run(extract_clip(job, store, folder, tools=tools, deadline_s=600))
    return [matrix._number(frame) for frame in decoded(store.result, tools)]
