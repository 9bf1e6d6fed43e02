"""Pages of a SQLite file: read out of the frames of its log, and written in runs that lie side by side."""

import os
import struct
from collections.abc import Iterator, Mapping, Sequence

from app.replication.errors import ForeignWriter

WAL_HEADER, SALT = 32, 16
FRAME_HEADER = 24
# Of one system call (IOV_MAX of Linux).
_MOST_BUFFERS = 1024


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


def write_pages(descriptor: int, pages: Mapping[int, bytes], page_size: int) -> None:
    """Write each page at its place in the file. Raises ``OSError``, with part of them written."""
    for first, run in _runs(pages):
        _write_all(descriptor, run, (first - 1) * page_size)


def _runs(pages: Mapping[int, bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Pages that lie side by side, as many as one call may write, behind the number of the first one."""
    first, run = 0, list[bytes]()
    for number in sorted(pages):
        if number != first + len(run) or len(run) == _MOST_BUFFERS:
            if run:
                yield first, run
            first, run = number, []
        run.append(pages[number])
    if run:
        yield first, run


def _write_all(descriptor: int, run: Sequence[bytes], offset: int) -> None:
    written = os.pwritev(descriptor, run, offset)
    if written < (whole := sum(map(len, run))):
        # What stopped it, a full disk mostly, is what the next call says.
        rest = b"".join(run)
        while written < whole:
            written += os.pwrite(descriptor, rest[written:], offset + written)
