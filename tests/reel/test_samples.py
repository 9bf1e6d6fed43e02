"""An index that was made to cause trouble costs little time, and no error but those of a video."""

from __future__ import annotations

import struct
import time

import pytest

from reel import fragments, index, samples
from reel.errors import NotAVideo
from reel.samples import Place

HANDLER = bytes(8) + b"vide" + bytes(13)
DESCRIBED, CHUNK = ("stsd", bytes(8)), ("stco", struct.pack(">3I", 0, 1, 0))


def box(kind: str, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind.encode()) + content


def index_of(*tables: tuple[str, bytes], media: bytes = b"", track: bytes = b"") -> bytes:
    """A moov with a track of pictures that has these tables; `media` and `track` stand at the end of its boxes."""
    table = b"".join(box(*one) for one in tables)
    inner = box("hdlr", HANDLER) + box("minf", box("stbl", table)) + media
    return box("moov", box("trak", box("tkhd", bytes(84)) + box("mdia", inner) + track))


def run(samples_in_chunk: int) -> tuple[str, bytes]:
    return "stsc", struct.pack(">5I", 0, 1, 1, samples_in_chunk, 1)


def places(moov: bytes) -> list[Place]:
    track = samples.track(moov, 0, b"vide")
    assert track is not None
    return samples.pictures(moov, track, 1)


@pytest.mark.parametrize("content", [b"", bytes(4), struct.pack(">3I", 0, 3, 1 << 31), struct.pack(">3I", 0, 0, 9)])
def test_a_compact_table_that_is_cut_off_or_of_an_odd_width_names_no_sample(content: bytes) -> None:
    assert not places(index_of(DESCRIBED, run(1), CHUNK, ("stz2", content)))


@pytest.mark.parametrize(
    ("name", "content", "sizes"),
    [
        ("stsz", struct.pack(">6I", 0, 0, 3, 10, 20, 30), [10, 20, 30]),
        ("stsz", struct.pack(">3I", 0, 10, 3), [10, 10, 10]),
        ("stz2", struct.pack(">3I3H", 0, 16, 3, 10, 20, 30), [10, 20, 30]),
        ("stz2", struct.pack(">3I3B", 0, 8, 3, 10, 20, 30), [10, 20, 30]),
        ("stz2", struct.pack(">3I2B", 0, 4, 3, 0xAB, 0xC0), [10, 11, 12]),
    ],
)
def test_a_sample_lies_behind_the_others_of_its_chunk(name: str, content: bytes, sizes: list[int]) -> None:
    found = places(index_of(DESCRIBED, run(3), CHUNK, (name, content)))
    assert [place.sizes for place in found] == [(size,) for size in sizes]
    assert [place.offset for place in found] == [sum(sizes[:number]) for number in range(3)]


def test_millions_of_samples_in_one_chunk_take_little_time() -> None:
    count = 2_000_000
    moov = index_of(
        DESCRIBED, run(count), CHUNK, ("stsz", struct.pack(">3I", 0, 0, count) + bytes((0, 0, 0, 1)) * count)
    )
    before = time.process_time()
    assert places(moov)[-1].offset == count - 1
    assert time.process_time() - before < 0.5  # 1.6 s where each size is a number of its own


def test_boxes_within_boxes_do_not_exhaust_the_stack() -> None:
    nested = b""
    for _ in range(3000):
        nested = box("mdia", nested)
    moov = index_of(DESCRIBED, media=nested)
    track = samples.track(moov, 0, b"vide")
    assert track is not None
    assert len(samples.assemble(b"", moov, [(track, [Place(0, (5,), 1)], [b"12345"])])) < 1000


@pytest.mark.parametrize(
    "moov", [index_of(DESCRIBED, media=box("mdhd", bytes(1 << 23))), index_of(("stsd", bytes(1 << 23)))]
)
def test_a_huge_box_is_not_copied(moov: bytes) -> None:
    track = samples.track(moov, 0, b"vide")
    assert track is not None
    assert len(samples.assemble(b"", moov, [(track, [Place(0, (5,), 1)], [b"12345"])])) < 1.1 * 1024 * 1024


@pytest.mark.parametrize(
    "end",
    [{"media": box("mdhd", b"")}, {"media": box("mdhd", bytes(24)), "track": box("edts", box("elst", b""))}],
    ids=["mdhd", "elst"],
)
def test_an_empty_box_at_the_end_of_an_index_is_no_error(end: dict[str, bytes]) -> None:
    moov = index_of(DESCRIBED, ("stts", struct.pack(">4I", 0, 1, 1, 1)), **end)
    index.check_sample_tables(moov, 1000)
    with pytest.raises(NotAVideo, match="no video track that can be read"):
        fragments.picture_track(moov)
