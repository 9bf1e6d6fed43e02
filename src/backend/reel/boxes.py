"""Top-level boxes of MP4 and MOV files (ISO/IEC 14496-12, 4.2), from ranged reads of a file that is elsewhere."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from reel.errors import TruncatedVideo

HEADER_BYTES: Final = 16
MAX_BOXES: Final = 64
# What a file of this family may begin with.
FIRST_KINDS: Final = frozenset({"ftyp", "moov", "mdat", "free", "skip", "wide", "styp", "pnot"})

Read = Callable[[int, int], Awaitable[bytes]]


@dataclass(frozen=True)
class Box:
    """A box: four-letter kind, offset and size in bytes, header included."""

    kind: str
    offset: int
    size: int


def looks_like_boxes(head: bytes) -> bool:
    """Whether a file that begins like this is an MP4 or MOV."""
    return head[4:8].decode("latin-1") in FIRST_KINDS


def read_header(data: bytes, offset: int, file_size: int) -> Box:
    """The box whose header `data` begins with; raises TruncatedVideo when it does not end within the file."""
    if len(data) < 8:
        raise TruncatedVideo(f"The video is cut off: it ends at byte {file_size} within the header of a box")
    size, kind = struct.unpack(">I4s", data[:8])
    name = kind.decode("latin-1")
    if size == 1:
        if len(data) < 16:
            raise TruncatedVideo(f"The video is cut off: it ends at byte {file_size} within the header of {name!r}")
        (size,) = struct.unpack(">Q", data[8:16])
    elif size == 0:  # to the end of the file
        size = file_size - offset
    if size < 8:
        raise TruncatedVideo(f"The video is damaged: box {name!r} at byte {offset} has the size {size}")
    if offset + size > file_size:
        raise TruncatedVideo(
            f"The video is cut off: {name!r} should end at byte {offset + size}, the file has {file_size} bytes"
        )
    return Box(name, offset, size)


async def walk(read: Read, file_size: int) -> list[Box]:
    """The top-level boxes, at most MAX_BOXES (fragmented files have thousands); raises TruncatedVideo."""
    found: list[Box] = []
    offset = 0
    while offset < file_size and len(found) < MAX_BOXES:
        header = await read(offset, min(HEADER_BYTES, file_size - offset))
        box = read_header(header, offset, file_size)
        found.append(box)
        offset += box.size
    if not any(box.kind == "moov" for box in found):
        raise TruncatedVideo("The video is cut off: its index (moov) is missing")
    return found
