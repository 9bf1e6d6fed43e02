"""The clock of an MPEG transport stream (ISO/IEC 13818-1): whether it runs on, or begins anew in the middle.

Recorders that were paused and parts that were joined byte by byte leave such files. Their length and every time within
them is wrong, and ffprobe, which compares the first and the last timestamp, does not notice.
"""

from __future__ import annotations

from typing import Final

_SYNC: Final = 0x47
_TICKS: Final = 90_000
_WRAP: Final = 1 << 33
# B-frames and the two streams of a file lie this far apart at most; a clock that goes back further was set back.
_TOLERANCE: Final = 5 * _TICKS


def packet_size(head: bytes) -> int:
    """188, or 192 with a time code before each packet (M2TS), or 204 with a checksum behind; 0 for another kind of
    file."""
    for size, offset in ((188, 0), (192, 4), (204, 0)):
        places = range(offset, min(len(head), offset + 8 * size), size)
        if len(head) >= 3 * size and all(head[place] == _SYNC for place in places):
            return size
    return 0


class Clock:
    """Fed with parts of a file in order, each beginning at a packet."""

    def __init__(self, packet: int) -> None:
        self._packet = packet
        self._offset = 4 if packet == 192 else 0
        self._latest: dict[int, int] = {}
        self.went_back = False

    def look(self, data: bytes) -> None:
        """Compare each timestamp with the latest one before it, of the same stream."""
        for start in range(self._offset, len(data) - 188 + 1, self._packet):
            if data[start] != _SYNC:
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


def _presentation_ticks(packet: bytes) -> int | None:
    """The PTS of the picture or sound that begins in this packet (2.4.3.7), None where none begins."""
    if not packet[1] & 0x40 or not packet[3] & 0x10:
        return None
    at = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    header = packet[at : at + 14]
    if len(header) < 14 or header[:3] != b"\x00\x00\x01" or not 0xC0 <= header[3] <= 0xEF or not header[7] & 0x80:
        return None
    first, second, third = header[9], header[10:12], header[12:14]
    return (first >> 1 & 7) << 30 | int.from_bytes(second, "big") >> 1 << 15 | int.from_bytes(third, "big") >> 1
