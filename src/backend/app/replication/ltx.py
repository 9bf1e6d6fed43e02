"""The LTX file format, version 3, as Litestream 0.5 writes and restores it (superfly/ltx).

A file holds the newest image of every page that one or more transactions changed. Integers are big-endian, checksums
are CRC-64/ISO. Database checksums are off (flag 0x2): Litestream refuses to restore a replica that mixes both kinds.
"""

import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fastcrc
import lz4.block

from app.replication.errors import LtxError

MAGIC = b"LTX1"
NO_CHECKSUM = 0x2
CHECKSUM_BIT = 1 << 63
# Between the database's checksum and the node lie 24 bytes on the writer's own log, which say nothing to a reader.
_HEADER = struct.Struct(">4sIIIQQQQ24xQ20s")
HEADER_SIZE = _HEADER.size
_FRAME = struct.Struct(">IHI")
_PAGE_SIZES = frozenset(1 << shift for shift in range(9, 17))
_LOCK_BYTE = 1 << 30
_SIZED = 1
_DENSE: Mapping[str, Any] = {"mode": "high_compression", "compression": 9}
_END_OF_PAGES = bytes(6)
_crc = fastcrc.crc64.go_iso


MACHINE_BYTES = 20
"""Longest name of a Machine that a header can hold."""


@dataclass(frozen=True)
class Header:
    """``commit`` is the database's size in pages after this file; ``timestamp`` is in ms since the epoch.

    ``machine`` names the Machine that wrote the file, empty for none: up to ``MACHINE_BYTES`` ASCII characters in the
    header's reserved bytes, which superfly/ltx v0.5.3 (``Header.UnmarshalBinary``) neither reads nor checks.
    """

    page_size: int
    commit: int
    min_txid: int
    max_txid: int
    timestamp: int
    node: int
    machine: str = ""


@dataclass(frozen=True)
class LtxFile:
    """A decoded file: ``pages`` by page number, each ``header.page_size`` bytes, in ascending order."""

    header: Header
    pages: Mapping[int, bytes]


def lock_page(page_size: int) -> int:
    """Number of the page that SQLite never writes: the one that holds byte 1 GiB."""
    return _LOCK_BYTE // page_size + 1


def encode(header: Header, pages: Iterable[tuple[int, bytes]], *, dense: bool = False) -> bytes:
    """The file for ``pages``, which must ascend; ``dense`` takes twice the time and gives fewer bytes. Raises
    ``ValueError`` for pages that no reader would accept."""
    effort = _DENSE if dense else {}
    _check_header(header, ValueError)
    head = _HEADER.pack(
        MAGIC, NO_CHECKSUM, header.page_size, header.commit, header.min_txid, header.max_txid, header.timestamp, 0,
        header.node, header.machine.encode("ascii"),
    )  # fmt: skip
    out, index = [head], bytearray()
    crc, offset, last = _crc(head), len(head), 0
    locked = lock_page(header.page_size)
    for number, data in pages:
        if not last < number <= header.commit or number == locked or len(data) != header.page_size:
            raise ValueError(f"page {number} of {len(data)} bytes does not fit behind page {last} of {header.commit}")
        packed = lz4.block.compress(data, store_size=False, **effort)
        frame = _FRAME.pack(number, _SIZED, len(packed))
        crc = _crc(data, _crc(frame, crc))
        size = len(frame) + len(packed)
        out += (frame, packed)
        index += _varint(number) + _varint(offset) + _varint(size)
        offset, last = offset + size, number
    tail = _tail(index)
    out += (tail, struct.pack(">Q", CHECKSUM_BIT | _crc(tail, crc)))
    return b"".join(out)


def read_header(data: bytes) -> Header:
    """The header alone, without looking at the rest. Raises ``LtxError``."""
    if len(data) < _HEADER.size:
        raise LtxError(f"{len(data)} bytes are too few for a header")
    magic, flags, page_size, commit, low, high, timestamp, pre, node, machine = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise LtxError(f"begins with {magic!r}, not {MAGIC!r}")
    if flags != NO_CHECKSUM or pre:
        raise LtxError(f"flags {flags:#x}: only files without database checksums are read")
    name = machine.rstrip(b"\0").decode("ascii", "replace")
    header = Header(page_size, commit, low, high, timestamp, node, name)
    _check_header(header, LtxError)
    return header


def has_pages(data: bytes) -> bool:
    """Whether any page follows the header, of a file that need not be whole."""
    return data[HEADER_SIZE : HEADER_SIZE + len(_END_OF_PAGES)] != _END_OF_PAGES


def decode(data: bytes, *, with_index: bool = True) -> LtxFile:
    """The whole file, verified. Raises ``LtxError``; never returns a wrong page.

    The checksum covers pages and page index. ``with_index`` also holds the index against the pages: it is there for
    readers of single pages, takes a third of the time, and says nothing about the pages themselves.
    """
    header = read_header(data)
    locked, commit, page_size = lock_page(header.page_size), header.commit, header.page_size
    crc, offset, last = _crc(data[: _HEADER.size]), _HEADER.size, 0
    pages: dict[int, bytes] = {}
    index = bytearray() if with_index else None
    # One loop without calls to functions of our own: opening a database waits for it, some thousand pages long.
    while True:
        if offset + _FRAME.size > len(data):
            raise LtxError("ends inside a page's frame")
        number, flags, packed = _FRAME.unpack_from(data, offset)
        if number == 0 and flags == 0:
            break
        if flags != _SIZED:
            raise LtxError(f"page {number} has flags {flags:#x}")
        if not last < number <= commit or number == locked:
            raise LtxError(f"page {number} behind page {last} of {commit}")
        start, end = offset + _FRAME.size, offset + _FRAME.size + packed
        if end > len(data):
            raise LtxError(f"ends inside page {number}")
        try:
            page = lz4.block.decompress(data[start:end], uncompressed_size=page_size)
        except lz4.block.LZ4BlockError as error:
            raise LtxError(f"page {number} does not decompress: {error}") from None
        if len(page) != page_size:
            raise LtxError(f"page {number} has {len(page)} bytes instead of {page_size}")
        crc = _crc(page, _crc(data[offset:start], crc))
        if index is not None:
            index += _varint(number) + _varint(offset) + _varint(end - offset)
        pages[number] = page
        offset, last = end, number
    tail = data[offset:-8]
    if index is not None and tail != _tail(index):
        raise LtxError("the page index does not fit the pages")
    if data[-8:] != struct.pack(">Q", CHECKSUM_BIT | _crc(tail, crc)):
        raise LtxError("wrong file checksum")
    return LtxFile(header, pages)


def merge(files: Iterable[LtxFile], node: int) -> bytes:
    """One file for a contiguous run of files: the newest image of each page that still exists. Raises ``LtxError``."""
    run = list(files)
    for before, header in itertools.pairwise(file.header for file in run):
        if header.min_txid != before.max_txid + 1:
            raise LtxError(f"TXID {header.min_txid:x} does not follow {before.max_txid:x}")
        if header.page_size != before.page_size:
            raise LtxError("page sizes differ")
    first, last = run[0].header, run[-1].header
    header = Header(last.page_size, last.commit, first.min_txid, last.max_txid, last.timestamp, node)
    return encode(header, sorted(newest_pages(run).items()), dense=True)


def newest_pages(files: Iterable[LtxFile]) -> dict[int, bytes]:
    """The newest image of each page that the database has after ``files``, oldest first."""
    pages: dict[int, bytes] = {}
    size = 0
    for file in files:
        pages.update(file.pages)
        if file.header.commit < size:
            pages = {number: page for number, page in pages.items() if number <= file.header.commit}
        size = file.header.commit
    return pages


def database_pages(image: bytes | memoryview, page_size: int) -> Iterator[tuple[int, bytes]]:
    """The pages of a whole database image, without the lock page."""
    locked = lock_page(page_size)
    for number in range(1, len(image) // page_size + 1):
        if number != locked:
            yield number, bytes(image[(number - 1) * page_size : number * page_size])


def is_machine_name(text: str) -> bool:
    """Whether a header can hold the name."""
    return 0 < len(text) <= MACHINE_BYTES and text.isascii() and text.isprintable()


def _check_header(header: Header, error: type[Exception]) -> None:
    if error is ValueError and header.machine and not is_machine_name(header.machine):
        raise error(f"machine {header.machine!r} is longer than {MACHINE_BYTES} ASCII characters")
    if header.page_size not in _PAGE_SIZES:
        raise error(f"page size {header.page_size} is not a power of two from 512 to 65536")
    if not 1 <= header.min_txid <= header.max_txid:
        raise error(f"TXIDs {header.min_txid} to {header.max_txid} are not a range")


def _tail(index: bytearray) -> bytes:
    """What follows the pages: the end mark, the index with an end mark of its own, and its size."""
    return _END_OF_PAGES + bytes(index) + b"\0" + struct.pack(">QQ", len(index) + 1, 0)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
