"""The parts of an AVI file (Microsoft, "AVI RIFF File Reference"; OpenDML AVI File Format Extensions 1.02)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

MAX_PARTS: Final = 256


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
