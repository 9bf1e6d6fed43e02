"""Takes a few samples from several places of an MP4 and makes a small MP4 of them, to see whether they can be decoded.

The index of an MP4 says where each sample is, but not whether it is there: a copy or a download that was not finished
has the right size and an index, and zeros or foreign bytes for its media. Decoding everything was rejected, because a
Machine reads 8 MiB/s. Seeking in the file itself was rejected too: ffprobe would parse an index of up to 64 MiB again,
and the times of its samples would have to be known here.

Box names are those of ISO/IEC 14496-12, 8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final

from reel.boxes import Span, children, find, u32

PLACES: Final = 6
SOUNDS: Final = 16
# All samples of a track together; those that do not fit are not looked at.
MAX_BYTES: Final = 8 * 1024 * 1024
# A sample of uncompressed sound has fewer bytes than this. It cannot be wrong.
_UNCOMPRESSED_BYTES: Final = 64
# How long a sample lasts in the small MP4, in ticks of its track. ffmpeg takes sound with one tick a sample for
# uncompressed sound (libavformat/mov.c, mov_build_index).
TICKS: Final = 1000
# What the small MP4 has of a track, apart from its samples. It does without edit lists and what names other tracks.
_KEPT: Final = frozenset({"tkhd", "mdhd", "hdlr", "vmhd", "smhd", "gmhd", "dinf"})
# No such box has more bytes. One of 64 MiB would be copied several times.
_BOX_BYTES: Final = 1024 * 1024
# How many sizes are added up at once.
_BLOCK: Final = 65_536
# The boxes in which the sample tables are, and what is inside on the way there.
_INNER: Final = {"trak": "mdia", "mdia": "minf", "minf": "stbl"}


@dataclass(frozen=True)
class Place:
    """Samples that lie one behind the other: where the first one begins, the size of each in bytes, and which of the
    track's descriptions belongs to them (from 1)."""

    offset: int
    sizes: tuple[int, ...]
    description: int

    @property
    def size(self) -> int:
        return sum(self.sizes)


def track(moov: bytes, number: int, role: bytes) -> Span | None:
    """Where the content of the track's box is that ffprobe calls stream `number`; None where that is no track of this
    role (`vide`, `soun`)."""
    tracks = [(start, end) for kind, start, end in children(moov, 8, len(moov)) if kind == "trak"]
    if number >= len(tracks):
        return None
    media = find(moov, *tracks[number], "mdia")
    handler = media and find(moov, *media, "hdlr")
    return tracks[number] if handler and moov[handler[0] + 8 : handler[0] + 12] == role else None


def pictures(moov: bytes, track: Span, count: int) -> list[Place]:
    """Key frames from the whole length of a track, the first and the last among them, each with the samples behind it
    until there are `count`."""
    tables = _tables(moov, track)
    if tables is None:
        return []
    keys = find(moov, *tables, "stss")
    if keys is None:
        samples = _spread(_Sizes(moov, tables).count)
    else:
        there = min(u32(moov, keys[0] + 4), (keys[1] - keys[0] - 8) // 4)
        samples = [u32(moov, keys[0] + 8 + 4 * number) - 1 for number in _spread(there)]
    return _within(_places(moov, tables, samples, count))


def first_key(moov: bytes, track: Span) -> int | None:
    """The number of the first sample, from 1, that the index lists as a key frame (stss): 0 where the list is empty,
    None where there is none. Without a list, every sample is a key frame (8.6.2)."""
    tables = _tables(moov, track)
    keys = tables and find(moov, *tables, "stss")
    return keys and (u32(moov, keys[0] + 8) if u32(moov, keys[0] + 4) and keys[1] - keys[0] >= 12 else 0)


def sounds(moov: bytes, track: Span) -> list[Place]:
    """Some consecutive samples of compressed sound from each of several places."""
    tables = _tables(moov, track)
    sizes = _Sizes(moov, tables) if tables else None
    if tables is None or sizes is None or 0 < sizes.uniform < _UNCOMPRESSED_BYTES:
        return []
    return _within(_places(moov, tables, _spread(sizes.count), SOUNDS))


def assemble(brand: bytes, moov: bytes, parts: Sequence[tuple[Span, Sequence[Place], Sequence[bytes]]]) -> bytes:
    """An MP4 of these tracks with nothing but these samples, and what each place contains.

    `brand` is the content of the box ftyp of the original, empty if it has none: MOV and MP4 describe sound
    differently. The time of each sample is its number, in units of TICKS.
    """
    kind = _box("ftyp", brand) if brand else b""
    media = b"".join(content for _, _, contents in parts for content in contents)
    offset = len(kind) + 8
    index = b"".join(_box(name, moov[a:b]) for name, a, b in children(moov, 8, len(moov)) if name == "mvhd")
    for track, places, contents in parts:
        index += _box("trak", _track(moov, track, places, offset))
        offset += sum(map(len, contents))
    return kind + _box("mdat", media) + _box("moov", index)


def _spread(count: int) -> list[int]:
    """Some of `count` numbers: PLACES from the first to the last at equal distances, and the one before the last."""
    if count < 2:
        return list(range(count))
    return sorted({count - 2, *(number * (count - 1) // (PLACES - 1) for number in range(PLACES))})


def _within(places: list[Place]) -> list[Place]:
    """The first and the last place, and of the others those for which there is room."""
    taken: list[Place] = []
    left = MAX_BYTES
    for place in [*places[:1], *places[:0:-1]]:
        if 0 < place.size <= left:
            taken.append(place)
            left -= place.size
    return sorted(taken, key=lambda place: place.offset)


def _tables(moov: bytes, track: Span) -> Span | None:
    found: Span | None = track
    for inner in ("mdia", "minf", "stbl"):
        found = found and find(moov, *found, inner)
    return found


class _Sizes:
    """The sizes of a track's samples (stsz or stz2): `count` of them; `uniform` if all have the same, else 0."""

    def __init__(self, moov: bytes, tables: Span) -> None:
        self._moov = moov
        wide, compact = find(moov, *tables, "stsz"), find(moov, *tables, "stz2")
        place = wide or compact or (0, 0)
        self._start, self._bits = place[0] + 12, u32(moov, place[0] + 4) & 255 if compact and not wide else 32
        self.uniform = u32(moov, place[0] + 4) if wide else 0
        room = max(0, place[1] - self._start) * 8 // self._bits if self._bits in (4, 8, 16, 32) else 0
        self.count = u32(moov, place[0] + 8) if self.uniform else min(u32(moov, place[0] + 8), room)

    def of(self, first: int, behind: int) -> list[int]:
        """The sizes of the samples `first` to `behind` - 1."""
        behind = min(behind, self.count)
        if self.uniform:
            return [self.uniform] * max(0, behind - first)
        if self._bits == 4:
            found = (self._moov[self._start + number // 2] for number in range(first, behind))
            return [byte & 15 if number % 2 else byte >> 4 for number, byte in enumerate(found, first)]
        width = self._bits // 8
        at = (self._start + number * width for number in range(first, behind))
        return [int.from_bytes(self._moov[place : place + width], "big") for place in at]

    def total(self, first: int, behind: int) -> int:
        """Bytes of the samples `first` to `behind` - 1, of which a chunk of a damaged file may have millions."""
        if self.uniform:
            return self.uniform * (behind - first)
        blocks = range(first, behind, _BLOCK)
        if self._bits == 32:  # most files; ten times as fast
            at = self._start
            parts = (self._moov[at + 4 * number : at + 4 * min(number + _BLOCK, behind)] for number in blocks)
            return sum(sum(struct.unpack(f">{len(part) // 4}I", part)) for part in parts)
        return sum(sum(self.of(number, min(number + _BLOCK, behind))) for number in blocks)


def _places(moov: bytes, tables: Span, samples: list[int], count: int) -> list[Place]:
    """Up to `count` samples of one chunk from each of `samples` on."""
    sizes, wanted, found = _Sizes(moov, tables), iter(sorted(set(samples) - {-1})), []
    sample = next(wanted, None)
    before = 0
    for first, behind, per_chunk, description in _runs(moov, tables):
        end = before + (behind - first) * per_chunk
        while sample is not None and sample < end:
            chunk, within = divmod(sample - before, per_chunk)
            offset = _chunk(moov, tables, first + chunk)
            taken = sizes.of(sample, min(sample + count, sample - within + per_chunk))
            if offset is not None and taken:
                offset += sizes.total(sample - within, sample)
                found.append(Place(offset, tuple(taken), description))
            sample = next(wanted, None)
        before = end
    return found


def _runs(moov: bytes, tables: Span) -> Iterator[tuple[int, int, int, int]]:
    """Chunks with equally many samples (stsc): the first one, the one behind the last, samples per chunk, description.
    Chunks are counted from 0."""
    place = find(moov, *tables, "stsc")
    if place is None:
        return
    count = min(u32(moov, place[0] + 4), (place[1] - place[0] - 8) // 12)
    runs = struct.iter_unpack(">III", memoryview(moov)[place[0] + 8 : place[0] + 8 + 12 * count])
    for (first, per_chunk, description), (behind, _, _) in pairwise(chain(runs, [(1 << 32, 0, 0)])):
        if 0 < first < behind and per_chunk:
            yield first - 1, behind - 1, per_chunk, description


def _chunk(moov: bytes, tables: Span, number: int) -> int | None:
    for kind, width in (("stco", 4), ("co64", 8)):
        place = find(moov, *tables, kind)
        if place is not None:
            at = place[0] + 8 + number * width
            return int.from_bytes(moov[at : at + width], "big") if at + width <= place[1] else None
    return None


def _track(moov: bytes, span: Span, places: Sequence[Place], offset: int, within: str = "trak") -> bytes:
    """The content of a track's box, or of the one `within` it on the way to the sample tables, with other tables."""
    content = b""
    for kind, start, end in children(moov, *span):
        if kind == _INNER[within] == "stbl":
            first, behind = find(moov, start, end, "stsd") or (start, start)
            content += _box(
                kind, _box("stsd", moov[first : min(behind, first + _BOX_BYTES)]) + _sample_tables(places, offset)
            )
        elif kind == _INNER[within]:
            content += _box(kind, _track(moov, (start, end), places, offset, kind))
        elif kind in _KEPT and end - start <= _BOX_BYTES:
            content += _box(kind, moov[start:end])
    return content


def _sample_tables(places: Sequence[Place], offset: int) -> bytes:
    """A chunk for each place, one behind the other from `offset` on."""
    sizes = [size for place in places for size in place.sizes]
    offsets = [offset + sum(before.size for before in places[:number]) for number in range(len(places))]
    runs = [(number, len(place.sizes), place.description) for number, place in enumerate(places, 1)]
    return (
        _box("stts", struct.pack(">4I", 0, 1, len(sizes), TICKS))
        + _box("stsc", struct.pack(">2I", 0, len(runs)) + b"".join(struct.pack(">3I", *run) for run in runs))
        + _box("stsz", struct.pack(f">3I{len(sizes)}I", 0, 0, len(sizes), *sizes))
        + _box("stco", struct.pack(f">2I{len(offsets)}I", 0, len(offsets), *offsets))
    )


def _box(kind: str, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind.encode("latin-1")) + content
