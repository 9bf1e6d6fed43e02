"""Finds the length of a fragmented MP4 from its last fragment (ISO/IEC 14496-12, 8.8), without reading the whole file.

Such a file says in its index (moov) only which tracks it has; each fragment (moof) tells when it begins (tfdt) and how
long its samples are (trun). A recorder that lost power leaves a last fragment that is cut off; the one before it
counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from reel.boxes import children, find, u32
from reel.errors import NotAVideo

# At most this many candidates are examined, because a malicious file may contain very many.
MAX_CANDIDATES = 10_000


@dataclass(frozen=True)
class Track:
    """The picture's track: its number, ticks per second, and the length of a sample where a fragment does not tell
    it."""

    number: int
    timescale: int
    sample_ticks: int


def is_fragmented(moov: bytes) -> bool:
    """Whether the index announces fragments (a box mvex)."""
    return find(moov, 8, len(moov), "mvex") is not None


def picture_track(moov: bytes) -> Track:
    """The first track with pictures; raises NotAVideo when there is none."""
    for kind, start, end in children(moov, 8, len(moov)):
        if kind != "trak":
            continue
        media = find(moov, start, end, "mdia")
        handler = media and find(moov, *media, "hdlr")
        if not media or not handler or moov[handler[0] + 8 : handler[0] + 12] != b"vide":
            continue
        head, clock = find(moov, start, end, "tkhd"), find(moov, *media, "mdhd")
        if head is None or clock is None:
            continue
        number = u32(moov, head[0] + (20 if moov[head[0]] == 1 else 12))
        timescale = u32(moov, clock[0] + (20 if moov[clock[0]] == 1 else 12))
        if timescale:
            return Track(number, timescale, _default_ticks(moov, number))
    raise NotAVideo("The file has no video track that can be read")


def end_of_last_fragment(tail: bytes, track: Track) -> float | None:
    """When the last whole fragment of the track in `tail` (the end of the file) ends, in seconds; None where there is
    none."""
    at = len(tail)
    for _ in range(MAX_CANDIDATES):
        at = tail.rfind(b"moof", 0, at)
        if at < 4:
            break
        start = at - 4
        size = u32(tail, start)
        if size < 16 or start + size > len(tail):
            continue
        ends = [end for end in _ends(tail, start + 8, start + size, track) if end is not None]
        if ends and _media_is_whole(tail, start + size):
            return max(ends) / track.timescale
    return None


def _media_is_whole(tail: bytes, offset: int) -> bool:
    """Whether the media that follows a fragment's description is there to its end."""
    if offset + 8 > len(tail) or tail[offset + 4 : offset + 8] != b"mdat":
        return False
    size = u32(tail, offset)
    if size == 1 and offset + 16 <= len(tail):
        (size,) = struct.unpack_from(">Q", tail, offset + 8)
    return size == 0 or offset + size <= len(tail)


def _ends(data: bytes, start: int, end: int, track: Track) -> Iterator[int | None]:
    for kind, inner, inner_end in children(data, start, end):
        if kind == "traf":
            yield _end_of_run(data, inner, inner_end, track)


def _end_of_run(data: bytes, start: int, end: int, track: Track) -> int | None:
    head, clock = find(data, start, end, "tfhd"), find(data, start, end, "tfdt")
    if head is None or clock is None or u32(data, head[0] + 4) != track.number:
        return None
    at, ticks = head[0] + 8, track.sample_ticks
    flags = u32(data, head[0]) & 0xFFFFFF
    at += 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
    if flags & 0x8:
        ticks = u32(data, at)
    begin = struct.unpack_from(">Q", data, clock[0] + 4)[0] if data[clock[0]] == 1 else u32(data, clock[0] + 4)
    length = 0
    for kind, inner, inner_end in children(data, start, end):
        if kind == "trun":
            length += _run_ticks(data, inner, inner_end, ticks)
    return int(begin) + length


def _run_ticks(data: bytes, start: int, end: int, ticks: int) -> int:
    flags, count = u32(data, start) & 0xFFFFFF, u32(data, start + 4)
    if not flags & 0x100:
        return count * ticks
    at = start + 8 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
    step = 4 * sum(bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800))
    count = min(count, max(0, end - at) // step)
    return sum(u32(data, at + number * step) for number in range(count))


def _default_ticks(moov: bytes, number: int) -> int:
    extends = find(moov, 8, len(moov), "mvex")
    if extends is not None:
        for kind, start, _ in children(moov, *extends):
            if kind == "trex" and u32(moov, start + 4) == number:
                return u32(moov, start + 12)
    return 0
