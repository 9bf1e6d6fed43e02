"""The parts of an AVI file (Microsoft, "AVI RIFF File Reference"; OpenDML AVI File Format Extensions 1.02)."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

MAX_PARTS: Final = 256
_LISTS: Final = (b"RIFF", b"LIST")


async def another_begins(read: Callable[[int, int], Awaitable[bytes]], size: int) -> bool:
    """Whether another file follows the first one. The later parts of one long file (OpenDML) are called AVIX."""
    offset = 0
    for _ in range(MAX_PARTS):
        if offset + 12 > size:
            break
        header = await read(offset, 12)
        if header[:4] != b"RIFF":
            break
        if offset and header[8:] == b"AVI ":
            return True
        length = int.from_bytes(header[4:8], "little")
        offset += 8 + length + length % 2
    return False


def skipped_rest(head: bytes, tail: int, size: int) -> list[tuple[int, bytes]]:
    """The header of a chunk that ffmpeg skips (JUNK), and its place: behind the pictures, where the rest of a file of
    `size` bytes is not known up to `tail`. ffmpeg searches the index there, in steps of 8 bytes through zeros: 8 s for
    a file of 1.3 GB."""
    movi = head.find(b"movi")
    if movi < 8 or head[movi - 8 : movi - 4] != b"LIST":
        return []
    length = int.from_bytes(head[movi - 4 : movi], "little")
    end = movi + length + length % 2
    if not len(head) <= end <= tail - 8:
        return []
    return [(end, b"JUNK" + min(size - end - 8, 0xFFFFFFFE).to_bytes(4, "little"))]


def is_torn(path: Path) -> bool:
    """Whether something else stands where a chunk should begin: what was there is lost."""
    size, offset = path.stat().st_size, 0
    with path.open("rb", buffering=0) as file:
        while offset + 8 <= size:
            header = os.pread(file.fileno(), 8, offset)
            if not header[:4].replace(b" ", b"0").isalnum():
                return True
            length = int.from_bytes(header[4:], "little")
            offset += 12 if header[:4] in _LISTS else 8 + length + length % 2
    return False
