"""Finds where the sequence header of a picture changes within an MPEG transport stream.

A change from SDR to HDR, or to another size, is in no program table. Reading the colours of each header here was
rejected: the headers of three codecs are long and differ, and ffprobe reads them.
"""

from __future__ import annotations

import hashlib
from typing import Final

from reel.packets import beginnings, following, payload_of, stream_of

_START: Final = b"\x00\x00\x01"
# A header is not searched further than this.
_HEADER_BYTES: Final = 2048
# Headers of a stream that are compared. Some encoders change theirs all the time.
_MAX_HEADERS: Final = 16
# Types of streams (table 2-34) whose headers are known; MPEG-1 and MPEG-2 are the others.
_H264, _HEVC = 0x1B, 0x24


class Headers:
    """Lists where a stream gets another sequence header: the sequence parameter set of H.264 (7.3.2.1) and HEVC
    (7.3.2.2), sequence header and extensions of MPEG-2 (6.2.2). Gets the parts of a file in order.

    A header that a part's end cuts is left out: each one is repeated with the next key frame."""

    kept = ("_offset", "_seen", "_first")

    def __init__(self, packet: int) -> None:
        self._packet = packet
        self._offset = 0
        self._seen: dict[int, list[bytes]] = {}
        self._first: dict[int, int] = {}
        self.doubtful: list[int] = []

    def look(self, data: bytes, pictures: dict[int, int]) -> None:
        """`pictures` has the type of each stream with pictures."""
        for start in beginnings(data, self._packet):
            stream = stream_of(data, start)
            header = self._header(data, start, pictures[stream]) if stream in pictures else b""
            seen = self._seen.setdefault(stream, []) if header else []
            if header and header not in seen and len(seen) < _MAX_HEADERS:
                at = self._offset + start // self._packet * self._packet
                first = self._first.setdefault(stream, at)
                # The first one matters only if there is another one.
                self.doubtful += [first, at] if len(seen) == 1 else [at] if seen else []
                seen.append(header)
        self._offset += len(data)

    def _header(self, data: bytes, start: int, kind: int) -> bytes:
        """A hash of the sequence header before the picture that begins in this packet; empty if there is none."""
        payload = payload_of(data, start)
        if payload[:3] != _START or len(payload) < 9:
            return b""
        payload = payload[9 + payload[8] :]
        rest = following(data, start, self._packet)
        while not any(_is_slice(unit, kind) for unit in payload.split(_START)[1:]):
            more = next(rest, b"")
            if not more or len(payload) > _HEADER_BYTES:
                break
            payload += more
        # The last one may go on in a packet that was not looked at.
        units = [unit.rstrip(b"\0") for unit in payload.split(_START)[1:-1]]
        found = b"".join(_facts(unit, kind) for unit in units if unit)
        return hashlib.blake2b(found, digest_size=8).digest() if found else b""


def _is_slice(unit: bytes, kind: int) -> bool:
    """Whether the picture itself begins with this unit (H.264 and HEVC: NAL unit; MPEG-2: after a start code)."""
    if not unit:
        return False
    if kind == _H264:
        return unit[0] & 0x1F in (1, 2, 5)
    return unit[0] >> 1 < 32 if kind == _HEVC else unit[0] == 0


def _facts(unit: bytes, kind: int) -> bytes:
    """What a unit says of size, shape, rate and colours, with other things; empty for another kind of unit. Of MPEG-2
    without bit rate and quantisation, which may change all the time."""
    if kind == _H264:
        return unit if unit[0] & 0x1F == 7 else b""
    if kind == _HEVC:
        return unit if unit[0] >> 1 == 33 else b""
    if unit[0] == 0xB3:
        return unit[:5]
    return unit if unit[0] == 0xB5 and len(unit) > 1 and unit[1] >> 4 in (1, 2) else b""
