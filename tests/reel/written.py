"""Kinds of file that ffmpeg does not write, made from those that it does."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Final

from reel.boxes import u32

DV_FRAME: Final = 144_000
_CONTAINERS: Final = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def avi_of_type_1(dv: bytes) -> bytes:
    """Raw DV (PAL, 25 frames per second) as capture programs for Windows write it: one stream, "iavs", has picture and
    sound (Microsoft, "DV Data in the AVI File Format", 1997)."""
    frames = [dv[at : at + DV_FRAME] for at in range(0, len(dv), DV_FRAME)]
    main = struct.pack("<10I16x", 40_000, 3_600_000, 0, 0x10, len(frames), 0, 1, DV_FRAME, 720, 576)
    head = b"iavsdvsd" + struct.pack("<IHH8I4H", 0, 0, 0, 0, 1, 25, 0, len(frames), DV_FRAME, 0, 0, 0, 0, 720, 576)
    stream = _chunk(b"LIST", b"strl" + _chunk(b"strh", head) + _chunk(b"strf", bytes(32)))
    listed = _chunk(b"LIST", b"hdrl" + _chunk(b"avih", main) + stream)
    pictures = _chunk(b"LIST", b"movi" + b"".join(_chunk(b"00__", frame) for frame in frames))
    step = DV_FRAME + 8
    index = b"".join(b"00__" + struct.pack("<3I", 0x10, 4 + n * step, DV_FRAME) for n in range(len(frames)))
    return _chunk(b"RIFF", b"AVI " + listed + pictures + _chunk(b"idx1", index))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body


def with_fragments_from(seconds: int) -> Callable[[bytes], bytes]:
    """Adds a time to all fragments of an MP4 (tfdt), as a part of a broadcast has it."""

    def later(data: bytes) -> bytes:
        changed = bytearray(data)
        scales = [u32(data, head.end() + 12) for head in re.finditer(b"mdhd", data)]
        for track in re.finditer(rb"tfhd.{4}(.{4}).*?tfdt", data, re.DOTALL):
            at = track.end() + 4
            before = int.from_bytes(data[at : at + 8], "big")
            struct.pack_into(">Q", changed, at, before + seconds * scales[u32(track[1], 0) - 1])
        return bytes(changed)

    return later


def with_dolby_vision(profile: int, compatibility: int) -> Callable[[bytes], bytes]:
    """Adds the configuration of Dolby Vision to the picture of an MP4 in HEVC whose index comes last (Dolby Vision
    Streams Within the ISO Base Media File Format, 3.2)."""
    body = bytes([1, 0]) + struct.pack(">H", profile << 9 | 4 << 3 | 0b101) + bytes([compatibility << 4]) + bytes(19)
    box = struct.pack(">I", 8 + len(body)) + (b"dvvC" if profile > 7 else b"dvcC") + body

    def added(data: bytes) -> bytes:
        grown = bytearray(data)
        at, end = _grow(grown, 0, len(data), len(box))
        assert at, "no hvc1 in it"
        grown[end:end] = box
        return bytes(grown)

    return added


def _grow(data: bytearray, at: int, end: int, by: int) -> tuple[int, int]:
    """Makes the box hvc1 and those around it larger; where it begins and ends, zeros where there is none."""
    while at < end:
        size, kind = struct.unpack_from(">I4s", data, at)
        inner = {b"stsd": 16, b"hvc1": 0}.get(kind, 8 if kind in _CONTAINERS else None)
        if inner is not None:
            found = (at, at + size) if not inner else _grow(data, at + inner, at + size, by)
            if found != (0, 0):
                struct.pack_into(">I", data, at, size + by)
                return found
        at += size
    return 0, 0
