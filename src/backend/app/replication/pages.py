"""Pages of a SQLite file: read out of the frames of its log, and written to their places."""

import struct
from collections.abc import Mapping
from typing import BinaryIO

from app.replication.errors import ForeignWriter

WAL_HEADER, SALT = 32, 16
FRAME_HEADER = 24


def read_frames(data: bytes, count: int, salt: bytes, page_size: int) -> tuple[dict[int, bytes], int]:
    """The newest image of each page in ``count`` frames, and the database's size after the last one."""
    size = FRAME_HEADER + page_size
    if len(data) != count * size:
        raise ForeignWriter(f"the log has {len(data)} bytes where {count} frames were written")
    pages: dict[int, bytes] = {}
    commit = 0
    for offset in range(0, len(data), size):
        number, commit = struct.unpack_from(">II", data, offset)
        if data[offset + 8 : offset + 16] != salt:
            raise ForeignWriter("a frame of the log has another salt")
        pages[number] = data[offset + FRAME_HEADER : offset + size]
    return pages, commit


def write_pages(file: BinaryIO, pages: Mapping[int, bytes], page_size: int) -> None:
    """Write each page at its place. Raises ``OSError``, with part of them written."""
    following = 0
    for number in sorted(pages):
        # A seek empties the file's buffer, so pages that lie side by side are written without one.
        if number != following:
            file.seek((number - 1) * page_size)
        file.write(pages[number])
        following = number + 1
