"""Checks an MPEG transport stream (ISO/IEC 13818-1): its clock must not restart, its streams must keep their format.

If a recorder was paused, or parts were concatenated byte by byte, the clock restarts in the middle of the file. Then
its length and times are wrong. ffprobe does not detect it, because it only compares the first and the last timestamp. A
receiver may also record a change of the codec, but ffmpeg keeps the decoder of the first one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reel.errors import UnusableVideo
from reel.media import MediaInfo
from reel.scan import CLOCK_BEGINS_ANEW, CLOCK_SLACK_S, FORMATS_CHANGE

_SYNC: Final = 0x47
_TICKS: Final = 90_000
_WRAP: Final = 1 << 33
# A table, a picture or a sound begins in this packet.
_BEGINS: Final = 0x40
# Types of streams with pictures and with sound (table 2-34, and those of ATSC and Blu-ray). Type 6 holds anything: its
# descriptors say what.
_PICTURES: Final = frozenset({0x01, 0x02, 0x10, 0x1B, 0x24, 0xD1, 0xEA})
_SOUNDS: Final = frozenset({0x03, 0x04, 0x0F, 0x11, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87})
_PRIVATE: Final = 0x06
# Descriptors that name the format of such a stream: a registration (2.6.8), and those of DVB for AC-3, E-AC-3, …
_NAMES_FORMAT: Final = frozenset({0x05, 0x6A, 0x7A, 0x7B, 0x7C})
# Size of the blocks in which a file is searched: 4 MB.
_BLOCK_PACKETS: Final = 20_000
_TOLERANCE: Final = int(CLOCK_SLACK_S * _TICKS)


def packet_size(head: bytes) -> int:
    """The packet size: 188, or 192 with a time code before each packet (M2TS), or 204 with a checksum after it; 0 for
    another kind of file."""
    for size, offset in ((188, 0), (192, 4), (204, 0)):
        places = range(offset, min(len(head), offset + 8 * size), size)
        if len(head) >= 3 * size and all(head[place] == _SYNC for place in places):
            return size
    return 0


class Recording:
    """A `reel.scan.Scan` of an MPEG-TS: checks its clock and its formats."""

    kept = ("_clock", "_formats")

    def __init__(self, packet: int) -> None:
        self.step = packet
        self.fault: str | None = None
        self._clock, self._formats = Clock(packet), Formats(packet)

    def look(self, data: bytes) -> None:
        self._clock.look(data)
        self._formats.look(data)
        self.fault = (
            CLOCK_BEGINS_ANEW if self._clock.went_back else FORMATS_CHANGE if self._formats.changed else self.fault
        )

    def unread(self) -> int:
        return 0

    def settled(self, media: MediaInfo) -> MediaInfo:
        return media


class Clock:
    """Checks the clock. Gets the parts of a file in order; each part begins at a packet."""

    kept = ("_latest",)

    def __init__(self, packet: int) -> None:
        self._packet = packet
        self._offset = 4 if packet == 192 else 0
        self._latest: dict[int, int] = {}
        self.went_back = False

    def look(self, data: bytes) -> None:
        """Compare each timestamp with the latest earlier one of the same stream."""
        flags = data[self._offset + 1 :: self._packet]
        for number, flag in enumerate(flags):
            start = self._offset + number * self._packet
            if not flag & _BEGINS or data[start] != _SYNC or start + 188 > len(data):
                continue
            ticks = _presentation_ticks(data[start : start + 188])
            if ticks is None:
                continue
            stream = (data[start + 1] & 0x1F) << 8 | data[start + 2]
            latest = self._latest.get(stream)
            ahead = 0 if latest is None else (ticks - latest + _WRAP // 2) % _WRAP - _WRAP // 2
            if ahead < -_TOLERANCE:
                self.went_back = True
            if latest is None or ahead > 0:
                self._latest[stream] = ticks


class Formats:
    """Checks the formats of streams by the program tables (2.4.4). Gets the parts of a file in order."""

    kept = ("_tables", "_programs", "_first")

    def __init__(self, packet: int) -> None:
        self._packet = packet
        self._offset = 4 if packet == 192 else 0
        self._tables: set[int] = set()
        self._programs: set[int] = set()
        self._first: dict[int, dict[int, bytes]] = {}
        self.changed = False

    def look(self, data: bytes) -> None:
        """Compare each table with the first one. A stream may disappear and come back with the same type. Other streams
        and programs may be added but not replace the first one, because a clip is cut from the first one."""
        for start in self._begins(data, 0):
            section = _section(data[start : start + 188])
            if section[:1] == b"\x00":
                entries = (section[at : at + 4] for at in range(8, len(section) - 4, 4))
                programs = {(entry[2] & 0x1F) << 8 | entry[3] for entry in entries if entry[:2] != b"\x00\x00"}
                self._programs = self._programs or programs
                self._tables |= programs
                self.changed |= bool(programs) and not programs & self._programs
        for stream in self._tables:
            for start in self._begins(data, stream):
                section = _section(data[start : start + 188])
                if section[:1] != b"\x02":
                    continue
                types = _types(section)
                known = self._first.setdefault(stream, types)
                self.changed |= any(known.get(one, kind) != kind for one, kind in types.items())
                self.changed |= any(_is_replaced(kinds, known, types) for kinds in (_PICTURES, _SOUNDS))

    def _begins(self, data: bytes, stream: int) -> Iterator[int]:
        """Offsets of packets in which a table of a stream begins. It searches for them, because a loop over all packets
        of a gigabyte takes seconds."""
        for priority in (0, 0x20):
            mark = bytes([_SYNC, _BEGINS | priority | stream >> 8, stream & 0xFF])
            at = data.find(mark)
            while at >= 0:
                if (at - self._offset) % self._packet == 0:
                    yield at
                at = data.find(mark, at + 1)


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


def _section(packet: bytes) -> bytes:
    """The table that begins in a packet, with its checksum. Empty if none begins there, or if it continues in another
    packet."""
    if not packet[1] & 0x40 or not packet[3] & 0x10:
        return b""
    at = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    if at >= len(packet):
        return b""
    at += 1 + packet[at]
    header = packet[at : at + 3]
    if len(header) < 3:
        return b""
    length = 3 + ((header[1] & 0x0F) << 8 | header[2])
    section = packet[at : at + length]
    return section if len(section) == length else b""


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


def _presentation_ticks(packet: bytes) -> int | None:
    """The PTS of the picture or audio frame that begins in this packet (2.4.3.7); None if none begins."""
    if not packet[1] & 0x40 or not packet[3] & 0x10:
        return None
    at = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    header = packet[at : at + 14]
    if len(header) < 14 or header[:3] != b"\x00\x00\x01" or not 0xC0 <= header[3] <= 0xEF or not header[7] & 0x80:
        return None
    first, second, third = header[9], header[10:12], header[12:14]
    return (first >> 1 & 7) << 30 | int.from_bytes(second, "big") >> 1 << 15 | int.from_bytes(third, "big") >> 1
