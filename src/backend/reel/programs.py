"""Checks by the program tables of an MPEG transport stream (ISO/IEC 13818-1, 2.4.4) that its streams keep their format.

A receiver may record a change of the codec, but ffmpeg keeps the decoder of the first one.
"""

from __future__ import annotations

import zlib
from itertools import islice
from pathlib import Path
from typing import Final

from reel.errors import UnusableVideo
from reel.packets import BEGINS, REST_PACKETS, beginnings, following, packet_size, payload_of, stream_of
from reel.scan import FORMATS_CHANGE

# Types of streams with pictures and with sound (table 2-34, and those of ATSC and Blu-ray). Type 6 holds anything: its
# descriptors say what.
_PICTURES: Final = frozenset({0x01, 0x02, 0x10, 0x1B, 0x24, 0xD1, 0xEA})
_SOUNDS: Final = frozenset({0x03, 0x04, 0x0F, 0x11, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87})
_PRIVATE: Final = 0x06
# Descriptors that name the format of such a stream: a registration (2.6.8), and those of DVB for AC-3, E-AC-3, …
_NAMES_FORMAT: Final = frozenset({0x05, 0x6A, 0x7A, 0x7B, 0x7C})
# What a table is (table_id, table 2-31), and the bit that says that it holds now (current_next_indicator).
_PROGRAMS, _STREAMS, _CURRENT = 0, 2, 1
# A satellite's transponder has some 30 programs. More would take memory and time.
_MAX_PROGRAMS: Final = 256
_MAX_PICTURES: Final = 8
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
# Size of the blocks in which a file is searched: 4 MB.
_BLOCK_PACKETS: Final = 20_000


class Formats:
    """Checks the formats of streams by the program tables (2.4.4). Gets the parts of a file in order."""

    kept = ("_tables", "_programs", "_first")

    def __init__(self, packet: int) -> None:
        self._packet = packet
        self._tables: set[int] = set()
        self._programs: set[int] = set()
        self._first: dict[int, dict[int, bytes]] = {}
        self.changed = False

    def look(self, data: bytes) -> None:
        """Compare each table with the first one. A stream may disappear and come back with the same type. Other streams
        and programs may be added but not replace the first one, because a clip is cut from the first one."""
        for start in beginnings(data, self._packet):
            stream = stream_of(data, start)
            if stream and stream not in self._tables:
                continue
            section = _section(data, start, self._packet)
            if len(section) < 8 or not section[5] & _CURRENT or not _is_intact(section):
                continue
            if stream == 0 and section[0] == _PROGRAMS:
                self._look_at_programs(section)
            elif stream and section[0] == _STREAMS:
                self._look_at_streams(stream, _types(section))

    def _look_at_programs(self, section: bytes) -> None:
        entries = (section[at : at + 4] for at in range(8, len(section) - 4, 4))
        programs = {(entry[2] & 0x1F) << 8 | entry[3] for entry in entries if entry[:2] != b"\x00\x00"}
        self._programs = self._programs or programs
        if len(self._tables) < _MAX_PROGRAMS:
            self._tables |= programs
        self.changed |= bool(programs) and not programs & self._programs

    def _look_at_streams(self, stream: int, types: dict[int, bytes]) -> None:
        known = self._first.setdefault(stream, types)
        self.changed |= any(known.get(one, kind) != kind for one, kind in types.items())
        self.changed |= any(_is_replaced(kinds, known, types) for kinds in (_PICTURES, _SOUNDS))

    def pictures(self) -> dict[int, int]:
        """The type of each stream with pictures, of the first ones."""
        found = (item for types in self._first.values() for item in types.items())
        pictures = ((stream, kind[0]) for stream, kind in found if kind[0] in _PICTURES)
        return dict(islice(pictures, _MAX_PICTURES))

    def beside(self, stream: int) -> set[int]:
        """The streams with pictures and with sound of the programs that have this one."""
        programs = (types for types in self._first.values() if stream in types)
        return {one for types in programs for one, kind in types.items() if kind[0] in _PICTURES | _SOUNDS}

    def tables(self) -> set[int]:
        """The streams that have the tables."""
        return {0, *self._tables}


def check_formats(path: Path) -> None:
    """Raises UnusableVideo if the file is an MPEG-TS in which a stream changes its format."""
    with path.open("rb") as file:
        head = file.read(8 * 204)
        packet = packet_size(head)
        if not packet:
            return
        formats = Formats(packet)
        file.seek(0)
        # In blocks. A memory map is slower to search and blocks other threads meanwhile.
        while block := file.read(_BLOCK_PACKETS * packet):
            formats.look(block)
    if formats.changed:
        raise UnusableVideo(FORMATS_CHANGE)


def tables(head: bytes, packet: int) -> bytes:
    """The packets of `head` that name the programs and their streams."""
    formats = Formats(packet)
    formats.look(head)
    wanted, offset = formats.tables(), 4 if packet == 192 else 0
    starts = range(0, len(head) - packet + 1, packet)
    found = [head[start : start + packet] for start in starts if stream_of(head, start + offset) in wanted]
    return b"".join(found[:REST_PACKETS])


def _section(data: bytes, start: int, packet: int) -> bytes:
    """The table that begins in a packet, with its checksum. Empty if none begins there, or if not all of it is in
    `data`."""
    payload = payload_of(data, start)
    if not payload or not data[start + 1] & BEGINS:
        return b""
    section, rest = payload[1 + payload[0] :], following(data, start, packet)
    while len(section) < 3 or len(section) < 3 + ((section[1] & 0x0F) << 8 | section[2]):
        more = next(rest, b"")
        if not more:
            return b""
        section += more
    return section[: 3 + ((section[1] & 0x0F) << 8 | section[2])]


def _is_intact(section: bytes) -> bool:
    """Whether the checksum is right (CRC_32, annex A): that of zlib with the bits of each byte in the other order."""
    return zlib.crc32(section.translate(_REVERSED)) == 0xFFFFFFFF


def _types(section: bytes) -> dict[int, bytes]:
    """The type of each stream in a program's table; for a private stream also the format in its descriptors."""
    found: dict[int, bytes] = {}
    at = 12 + ((section[10] & 0x0F) << 8 | section[11]) if len(section) > 12 else len(section)
    while at + 5 <= len(section) - 4:
        behind = at + 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
        kind = section[at : at + 1]
        if kind[0] == _PRIVATE:
            kind += _named_format(section[at + 5 : behind])
        found[(section[at + 1] & 0x1F) << 8 | section[at + 2]] = kind
        at = behind
    return found


def _named_format(descriptors: bytes) -> bytes:
    at = 0
    while at + 2 <= len(descriptors):
        tag, length = descriptors[at], descriptors[at + 1]
        if tag in _NAMES_FORMAT:
            return bytes([tag]) + (descriptors[at + 2 : at + 6] if tag == 0x05 else b"")
        at += 2 + length
    return b""


def _is_replaced(kinds: frozenset[int], before: dict[int, bytes], after: dict[int, bytes]) -> bool:
    """Whether all earlier streams of these kinds were replaced by other ones."""
    was = {stream for stream, kind in before.items() if kind[0] in kinds}
    now = {stream for stream, kind in after.items() if kind[0] in kinds}
    return bool(was and now) and not was & now
