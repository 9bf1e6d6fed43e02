"""What of a large AVI is looked at (`reel.avi`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reel import matrix
from tests.reel.matrix import Cell

from reel.avi import skipped_rest
from reel.tools import Tools

GIB = 1 << 30


@pytest.fixture
def whole(tools: Tools, tmp_path: Path) -> bytes:
    return matrix.make_source(Cell("whole", "avi", video=("-c:v", "mjpeg", "-q:v", "4")), tmp_path, tools).read_bytes()


@pytest.mark.parametrize(("more", "skipped"), [(GIB, None), (5 * GIB, 0xFFFFFFFE)])
def test_all_behind_the_pictures_is_one_chunk_to_skip(whole: bytes, more: int, skipped: int | None) -> None:
    """The index and the later parts of a large file, up to its end or as much as a chunk can hold."""
    size, end = len(whole) + more, whole.index(b"idx1")
    ((place, header),) = skipped_rest(whole[:20_000], size - 1000, size)
    assert (place, header[:4]) == (end, b"JUNK")
    assert int.from_bytes(header[4:], "little") == (skipped or size - end - 8)


def test_nothing_is_skipped_where_the_end_of_the_pictures_is_known(whole: bytes) -> None:
    end = whole.index(b"idx1")
    assert skipped_rest(whole[:20_000], end + 7, len(whole)) == []
    assert skipped_rest(whole, len(whole) - 10, len(whole)) == []
    assert skipped_rest(whole[:20], len(whole) - 10, len(whole)) == []
