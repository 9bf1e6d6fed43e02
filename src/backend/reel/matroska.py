"""The length of a Matroska or WebM file that does not tell it, from its last cluster (RFC 9559).

A browser's recorder writes such files: it does not know the length when it writes the beginning and never goes back.
"""

from __future__ import annotations

from collections.abc import Iterator

_CLUSTER, _TIMESTAMP = b"\x1f\x43\xb6\x75", 0xE7
_SIMPLE_BLOCK, _GROUP, _BLOCK = 0xA3, 0xA0, 0xA1
_TICKS = b"\x2a\xd7\xb1"
MAGIC = b"\x1a\x45\xdf\xa3"


def end_of_last_cluster(head: bytes, tail: bytes) -> float | None:
    """When the last block in `tail` (the end of the file) begins, in seconds; None where no cluster is in there."""
    at = len(tail)
    while (at := tail.rfind(_CLUSTER, 0, at)) >= 0:
        ticks = list(_block_ticks(tail, at + 4))
        if ticks:
            return max(ticks) * _nanoseconds(head) / 1e9
    return None


def _nanoseconds(head: bytes) -> int:
    """Nanoseconds of a tick: a million unless the file says otherwise (RFC 9559, 5.1.2.9)."""
    at = head.find(_TICKS)
    if at < 0:
        return 1_000_000
    size, start = _number(head, at + 3, keep_marker=False)
    return int.from_bytes(head[start : start + size], "big") or 1_000_000


def _block_ticks(data: bytes, start: int) -> Iterator[int]:
    size, at = _number(data, start, keep_marker=False)
    end = min(len(data), at + size)
    base = 0
    while at + 2 <= end:
        kind, content = _number(data, at, keep_marker=True)
        size, content = _number(data, content, keep_marker=False)
        if kind == _GROUP:  # its block is inside
            at = content
            continue
        if content + size > end:
            return
        if kind == _TIMESTAMP:
            base = int.from_bytes(data[content : content + size], "big")
        elif kind in (_SIMPLE_BLOCK, _BLOCK) and size >= 4:
            _, after = _number(data, content, keep_marker=False)
            yield base + int.from_bytes(data[after : after + 2], "big", signed=True)
        at = content + size


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
