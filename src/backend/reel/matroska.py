"""Finds when the last picture of a Matroska or WebM file begins, and whether another file follows (RFC 9559).

The length in the file's header is not reliable. A browser's recorder writes none, because it does not know the length
when it writes the header. A file that was cut off has the intended length. A recording whose clock does not begin at
zero has its end time there instead of its length.
"""

from __future__ import annotations

from collections.abc import Iterator

from reel.media import MediaInfo
from reel.scan import JOINED

_CLUSTER, _TIMESTAMP = b"\x1f\x43\xb6\x75", 0xE7
_SIMPLE_BLOCK, _GROUP, _BLOCK = 0xA3, 0xA0, 0xA1
_CHECKSUM, _VOID = 0xBF, 0xEC
# At most this many candidates are examined, because a malicious file may contain very many.
MAX_CANDIDATES = 10_000
_TICKS = b"\x2a\xd7\xb1"
_TRACKS = b"\x16\x54\xae\x6b"
_TRACK, _TRACK_NUMBER, _TRACK_TYPE = 0xAE, 0xD7, 0x83
MAGIC = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_KINDS = (b"\x42\x82\x84webm", b"\x42\x82\x88matroska")
# Of a file's header: the mark, and the name of its kind after at most six numbers of ours or another program's.
HEADER_BYTES = 96


class Segments:
    """A `reel.scan.Scan` of a file that does not tell where its segment ends: whether another file follows."""

    step = 1
    kept = ("_offset",)

    def __init__(self) -> None:
        self.fault: str | None = None
        self._before = b""
        self._offset = 0

    def look(self, data: bytes) -> None:
        seen = self._before + data
        at = seen.find(MAGIC)
        while at >= 0:
            if self._offset + at > 0 and is_header(seen[at : at + HEADER_BYTES]):
                self.fault = JOINED
            at = seen.find(MAGIC, at + 1)
        self._before = seen[-HEADER_BYTES:]
        self._offset += len(seen) - len(self._before)

    def unread(self) -> int:
        return len(self._before)

    def settled(self, media: MediaInfo) -> MediaInfo:
        return media


def is_header(data: bytes) -> bool:
    """Whether a file begins here."""
    return data.startswith(MAGIC) and any(kind in data[:HEADER_BYTES] for kind in _KINDS)


def end_of_segment(head: bytes) -> int | None:
    """Where the file's segment ends, by what it says itself; None where it does not tell."""
    at = head.find(_SEGMENT, 0, 4096)
    if at < 0 or at + 12 > len(head):
        return None
    size, start = _number(head, at + 4, keep_marker=False)
    return None if size == len(head) else start + size


def last_picture(head: bytes, tail: bytes, index: int = 0) -> float | None:
    """When the last picture in `tail` (the end of the file) begins, in seconds; None where no cluster with one is in
    there. `index` is the place of the picture's track in the file, as ffprobe counts."""
    track = _picture_track(head, index)
    at = len(tail)
    for _ in range(MAX_CANDIDATES):
        at = tail.rfind(_CLUSTER, 0, at)
        if at < 0:
            break
        ticks = [begins for number, begins in _blocks(tail, at + 4) if track in (None, number)]
        if ticks:
            return max(ticks) * _nanoseconds(head) / 1e9
    return None


def first_picture(head: bytes, index: int = 0) -> float | None:
    """When the first picture of the first cluster begins, in seconds; None where `head` (the beginning) has none."""
    at, track = head.find(_CLUSTER), _picture_track(head, index)
    ticks = (begins for number, begins in _blocks(head, at + 4) if track in (None, number)) if at >= 0 else iter(())
    first = next(ticks, None)
    return None if first is None else first * _nanoseconds(head) / 1e9


def _picture_track(head: bytes, index: int) -> int | None:
    """The number of the track with pictures at a place in the file, else of the first one (RFC 9559, 5.1.4.1)."""
    at, found = -1, dict[int, int]()
    # The list of places at the beginning (SeekHead) names the tracks too.
    while (at := head.find(_TRACKS, at + 1)) >= 0:
        size, start = _number(head, at + 4, keep_marker=False)
        tracks = (
            {inner: head[a:b] for inner, a, b in _children(head, first, end)}
            for kind, first, end in _children(head, start, min(len(head), start + size))
            if kind == _TRACK
        )
        for place, facts in enumerate(tracks):
            if facts.get(_TRACK_TYPE) == b"\x01":
                found[place] = int.from_bytes(facts.get(_TRACK_NUMBER, b""), "big")
        if found:
            break
    return found.get(index, next(iter(found.values()), None))


def _children(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Kind, and where the content begins and ends, of the elements between two offsets."""
    while at + 2 <= end:
        kind, start = _number(data, at, keep_marker=True)
        size, start = _number(data, start, keep_marker=False)
        at = start + size
        if at > end:
            return
        yield kind, start, at


def _nanoseconds(head: bytes) -> int:
    """Nanoseconds of a tick: a million unless the file says otherwise (RFC 9559, 5.1.2.9)."""
    at = head.find(_TICKS)
    if at < 0:
        return 1_000_000
    size, start = _number(head, at + 3, keep_marker=False)
    return _unsigned(head[start : start + size]) or 1_000_000


def _blocks(data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Track number and time of each block of a cluster, in ticks."""
    size, at = _number(data, start, keep_marker=False)
    end = min(len(data), at + size)
    base: int | None = None
    while at + 2 <= end:
        kind, content = _number(data, at, keep_marker=True)
        size, content = _number(data, content, keep_marker=False)
        if kind == _GROUP:  # its block is inside
            at = content
            continue
        if content + size > end:
            return
        if kind == _TIMESTAMP:
            base = _unsigned(data[content : content + size])
        elif base is None and kind not in (_CHECKSUM, _VOID):
            return  # a cluster begins with its time: these are bytes of a picture
        elif base is not None and kind in (_SIMPLE_BLOCK, _BLOCK) and size >= 4:
            track, after = _number(data, content, keep_marker=False)
            yield track, base + int.from_bytes(data[after : after + 2], "big", signed=True)
        at = content + size


def _unsigned(data: bytes) -> int:
    """A number of at most eight bytes (RFC 8794, 7.2); 0 where a damaged file has more."""
    return int.from_bytes(data, "big") if len(data) <= 8 else 0


def _number(data: bytes, at: int, *, keep_marker: bool) -> tuple[int, int]:
    """A variable-length number (RFC 8794, 4) and where the next thing begins; all ones means "to the end"."""
    if at >= len(data) or data[at] == 0:
        return 0, len(data)
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    if not keep_marker:
        unknown = (1 << 7 * length) - 1
        value &= unknown
        if value == unknown:
            value = len(data)
    return value, at + length
