"""Finds when the last picture of an FLV file begins (Adobe Flash Video File Format Specification 10.1, annex E.4).

The length in the file's header is not used, because it is still there if the file was cut off.
"""

from __future__ import annotations

from typing import Final

MAGIC: Final = b"FLV\x01"
_VIDEO: Final = 9
_HEADER: Final = 11


def last_picture(tail: bytes) -> float | None:
    """When the last whole picture in `tail` (the end of the file) begins, in seconds; None where there is none."""
    for at in range(len(tail) - _HEADER - 4, -1, -1):
        if tail[at] == _VIDEO and tail[at + 8 : at + 11] == b"\0\0\0" and _is_whole(tail, at):
            ticks = int.from_bytes(tail[at + 4 : at + 7], "big") | tail[at + 7] << 24
            return ticks / 1000
    return None


def _is_whole(tail: bytes, at: int) -> bool:
    """Whether the tag ends within the file, and the size that stands behind each tag is its size."""
    size = int.from_bytes(tail[at + 1 : at + 4], "big")
    behind = at + _HEADER + size
    return size > 0 and int.from_bytes(tail[behind : behind + 4], "big") == _HEADER + size
