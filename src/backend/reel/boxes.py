"""Boxes of MP4 and MOV files (ISO/IEC 14496-12, 4.2): those at the top of a file that is elsewhere, by ranged reads,
and those within an index that was read."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from reel.errors import TruncatedVideo

HEADER_BYTES: Final = 16
MAX_BOXES: Final = 64
# Top-level boxes (ISO/IEC 14496-12, 6.2.3, and those of QuickTime); anything else after a whole index and its media is
# rubbish behind the end, which recorders and file carving leave and players ignore.
KNOWN_KINDS: Final = frozenset(
    {
        *(
            "ftyp",
            "moov",
            "mdat",
            "free",
            "skip",
            "wide",
            "styp",
            "pnot",
            "moof",
            "mfra",
            "sidx",
            "ssix",
            "prft",
            "emsg",
        ),
        *("meta", "meco", "uuid", "pdin", "PICT"),
    }
)
# What a file of this family may begin with.
FIRST_KINDS: Final = frozenset({"ftyp", "moov", "mdat", "free", "skip", "wide", "styp", "pnot"})

Read = Callable[[int, int], Awaitable[bytes]]
Span = tuple[int, int]


@dataclass(frozen=True)
class Box:
    """A box: four-letter kind, offset and size in bytes, header included."""

    kind: str
    offset: int
    size: int


def looks_like_boxes(head: bytes) -> bool:
    """Whether a file with this beginning is an MP4 or MOV."""
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


def empty_header(size: int) -> bytes:
    """The header of a box with so many bytes in all that a reader skips (`free`)."""
    return struct.pack(">I4s", size, b"free") if size < 1 << 32 else struct.pack(">I4sQ", 1, b"free", size)


async def walk(read: Read, file_size: int) -> list[Box]:
    """The top-level boxes up to the first fragment, at most MAX_BOXES; raises TruncatedVideo.

    Bytes behind the last box are ignored once the index and the media are there.
    """
    found: list[Box] = []
    offset = 0
    while offset < file_size and len(found) < MAX_BOXES:
        header = await read(offset, min(HEADER_BYTES, file_size - offset))
        kinds = {box.kind for box in found}
        if {"moov", "mdat"} <= kinds and header[4:8].decode("latin-1") not in KNOWN_KINDS:
            break
        if header[4:8] == b"moof" and "moov" in kinds:
            found.append(Box("moof", offset, file_size - offset))
            break
        box = read_header(header, offset, file_size)
        found.append(box)
        offset += box.size
    if not any(box.kind == "moov" for box in found):
        raise TruncatedVideo("The video is cut off: its index (moov) is missing")
    return found


def children(data: bytes, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Kind, and where the content begins and ends, of each box between two offsets; stops at the first that is
    damaged."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            header = 16
        elif size == 0:
            size = end - start
        if size < header or start + size > end:
            return
        yield kind.decode("latin-1"), start + header, start + size
        start += size


def find(data: bytes, start: int, end: int, wanted: str) -> Span | None:
    """Where the content of the first box of a kind begins and ends."""
    return next(((inner, inner_end) for kind, inner, inner_end in children(data, start, end) if kind == wanted), None)


def is_wide(data: bytes, box: Span) -> bool:
    """Whether a box has version 1, which means that its times take 64 bits (4.2)."""
    return data[box[0] : box[0] + 1] == b"\x01"


def u32(data: bytes, offset: int) -> int:
    """Four bytes as a number; 0 beyond the end of a damaged file."""
    return int.from_bytes(data[offset : offset + 4], "big") if offset + 4 <= len(data) else 0
