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
