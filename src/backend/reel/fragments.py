"""Reads the fragments of a fragmented MP4 (ISO/IEC 14496-12, 8.8): whether they belong together, and where the last one
ends.

Such a file says in its index (moov) only which tracks it has; each fragment (moof) tells when it begins (tfdt) and how
long its samples are (trun). A recorder that lost power leaves a last fragment that is cut off; the one before it
counts. If more fragments follow after a place where no box begins, bytes were lost or added before that place: the
samples of one fragment cannot be found, and a player shows nothing after it, so the file is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from reel import boxes
from reel.boxes import Span, children, find, u32
from reel.errors import NotAVideo, TruncatedVideo, UnusableVideo
from reel.media import MediaInfo
from reel.scan import CLOCK_BEGINS_ANEW, JOINED

# A description of a fragment, or an index, is held in memory.
MAX_DESCRIPTION_BYTES: Final = 64 * 1024 * 1024
# Longest overlap of two consecutive fragments of a track. They may overlap, because their times are decoding times.
OVERLAP_S: Final = 0.5
# A fragment that begins within other bytes: its kind, then the size and the kind of its first box (8.8.4, 8.8.5).
_FRAGMENT: Final = b"moof\x00\x00\x00\x10mfhd"


@dataclass(frozen=True)
class Track:
    """The picture's track: its number, ticks per second, and the length of a sample where a fragment does not tell it.
    `first` is when the first sample is shown, where the index itself has samples."""

    number: int
    timescale: int
    sample_ticks: int
    first: int | None


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
        number = u32(moov, head[0] + (20 if boxes.is_wide(moov, head) else 12))
        timescale = u32(moov, clock[0] + (20 if boxes.is_wide(moov, clock) else 12))
        if timescale:
            return Track(number, timescale, _default_ticks(moov, number), _first_in_index(moov, media))
    raise NotAVideo("The file has no video track that can be read")


class Fragments:
    """A `reel.scan.Scan` of a fragmented MP4 of `size` bytes, whose index is `moov`. Raises NotAVideo."""

    step = 1
    kept = ("_offset", "_skip", "_over", "_first", "_decoded", "_described", "_end")

    def __init__(self, moov: bytes, size: int) -> None:
        self.fault: str | None = None
        self._moov, self._size = bytes(moov), size
        self._track = picture_track(moov)
        self._rest = bytearray()
        self._offset = 0
        self._skip = 0
        self._over = False
        self._first = self._track.first
        self._decoded = 0
        self._described = 0
        self._end = 0

    def look(self, data: bytes) -> None:
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._offset += skipped
        self._rest += data[skipped:]
        while not self._over and len(self._rest) >= boxes.HEADER_BYTES:
            try:
                box = boxes.read_header(bytes(self._rest[: boxes.HEADER_BYTES]), self._offset, self._size)
            except TruncatedVideo:
                self._over = True
                break
            if not box.kind.isprintable():  # rubbish: players skip a box that they do not know (4.2)
                self._over = True
            elif box.kind in ("moof", "moov") and len(self._rest) < box.size:
                if box.size <= MAX_DESCRIPTION_BYTES:
                    return
                self.fault, self._over = f"The video is damaged: {box.kind!r} has {box.size} bytes", True
            else:
                self._box(box)
                self._offset += min(box.size, len(self._rest))
                self._skip = max(0, box.size - len(self._rest))
                del self._rest[: box.size]
        if self._over:
            if _FRAGMENT in self._rest:
                self.fault = self.fault or (
                    f"The video is damaged: bytes are missing or were added before byte {self._offset}, and more of "
                    "the video follows. Copy the file from the recorder again and upload that"
                )
            del self._rest[: 1 - len(_FRAGMENT)]

    def unread(self) -> int:
        return len(self._rest)

    def settled(self, media: MediaInfo) -> MediaInfo:
        if not self._end:
            raise UnusableVideo(
                "The length of this fragmented MP4 cannot be determined: it has no complete fragment with pictures. "
                "Export it as an ordinary MP4 (ffmpeg -i IN -c copy OUT.mp4) and try again"
            )
        ticks = self._end - min(self._first or 0, self._end)
        return replace(media, duration_s=media.video.begins_s + ticks / self._track.timescale)

    def _box(self, box: boxes.Box) -> None:
        if box.kind == "mdat":  # it is there to its end, so what was described counts
            self._end = max(self._end, self._described)
        elif box.kind == "moov" and self._rest[: box.size] != self._moov:
            self.fault = JOINED
        elif box.kind == "moof":
            data = bytes(self._rest[: box.size])
            for span in _spans(data, self._track, self._decoded):
                if span.begin < self._decoded - OVERLAP_S * self._track.timescale:
                    self.fault = self.fault or CLOCK_BEGINS_ANEW
                self._decoded = max(self._decoded, span.end)
                self._described = max(self._described, span.over)
                self._first = span.shown if self._first is None else self._first


@dataclass(frozen=True)
class _Shown:
    """When the decoding of a fragment's samples begins and ends, and when the first of them is shown and the last one
    is over, in ticks. With B-frames and a variable rate, these differ by seconds."""

    begin: int
    end: int
    shown: int
    over: int


def _spans(moof: bytes, track: Track, before: int) -> Iterator[_Shown]:
    """The track's samples of a fragment; `before` is where the fragment before ended."""
    for kind, inner, inner_end in children(moof, 8, len(moof)):
        span = _span(moof, inner, inner_end, track, before) if kind == "traf" else None
        if span is not None:
            yield span


def _span(data: bytes, start: int, end: int, track: Track, before: int) -> _Shown | None:
    head, clock = find(data, start, end, "tfhd"), find(data, start, end, "tfdt")
    if head is None or u32(data, head[0] + 4) != track.number:
        return None
    at, ticks = head[0] + 8, track.sample_ticks
    flags = u32(data, head[0]) & 0xFFFFFF
    at += 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
    if flags & 0x8:
        ticks = u32(data, at)
    begin = before
    if clock is not None and clock[1] - clock[0] >= 8:
        code, width = (">Q", 8) if data[clock[0]] == 1 else (">I", 4)
        if clock[1] - clock[0] >= 4 + width:
            (begin,) = struct.unpack_from(code, data, clock[0] + 4)
    decoded, shown, over = begin, [], begin
    for kind, inner, inner_end in children(data, start, end):
        for length, wait in _samples(data, inner, inner_end, ticks) if kind == "trun" else ():
            shown.append(decoded + wait)
            over = max(over, decoded + wait + length)
            decoded += length
    return _Shown(begin, decoded, min(shown), over) if shown else None


def _samples(data: bytes, start: int, end: int, ticks: int) -> Iterator[tuple[int, int]]:
    """How long each sample of a run lasts, and how long after its decoding it is shown, in ticks (trun, 8.8.8). Without
    numbers of their own, all samples are alike."""
    flags, count = u32(data, start) & 0xFFFFFF, u32(data, start + 4)
    at = start + 8 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    if not flags & 0x900:
        yield count * ticks, 0
        return
    size = 4 * len(fields)
    table = memoryview(data)[at : at + min(count, max(0, end - at) // size) * size]
    for values in struct.iter_unpack(f">{len(fields)}i", table):
        field = dict(zip(fields, values, strict=True))
        yield field[0x100] & 0xFFFFFFFF if 0x100 in field else ticks, field.get(0x800, 0)


def _first_in_index(moov: bytes, media: Span) -> int | None:
    tables: Span | None = media
    for inner in ("minf", "stbl"):
        tables = tables and find(moov, *tables, inner)
    if tables is None or not (sizes := find(moov, *tables, "stsz")) or not u32(moov, sizes[0] + 8):
        return None
    waits = find(moov, *tables, "ctts")
    return u32(moov, waits[0] + 12) if waits and waits[1] - waits[0] >= 16 else 0


def _default_ticks(moov: bytes, number: int) -> int:
    extends = find(moov, 8, len(moov), "mvex")
    if extends is not None:
        for kind, start, _ in children(moov, *extends):
            if kind == "trex" and u32(moov, start + 4) == number:
                return u32(moov, start + 12)
    return 0
