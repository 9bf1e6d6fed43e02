"""H.264 of which each field is a picture of its own (PAFF), as camcorders write it; x264 cannot. All samples are stored
as they are (I_PCM), so no encoder is needed. Numbers in brackets are sections of ITU-T H.264."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Final

from tests.reel import matrix
from tests.reel.matrix import FRAMES, WIDTH
from tests.reel.written import _chunk

from reel.tools import Tools

CODED_HEIGHT: Final = 192
RATE: Final = 25
GOP: Final = 5
_MARK: Final = b"\0\0\0\1"
_DELIMITER: Final = _MARK + b"\x09\x10"
# Rows of a picture in 4:2:0: width, where they begin and where they end.
_PLANES: Final = tuple(
    (WIDTH // half, WIDTH * CODED_HEIGHT * first // 4, WIDTH * CODED_HEIGHT * behind // 4)
    for half, first, behind in ((1, 0, 4), (2, 4, 5), (2, 5, 6))
)


class Bits:
    def __init__(self) -> None:
        self.text = ""

    def u(self, *values: tuple[int, int]) -> Bits:
        """Numbers of so many bits."""
        self.text += "".join(f"{value:0{bits}b}" for bits, value in values)
        return self

    def ue(self, *values: int) -> Bits:
        """Exp-Golomb codes (9.1)."""
        self.text += "".join("0" * ((value + 1).bit_length() - 1) + f"{value + 1:b}" for value in values)
        return self

    def whole(self, end: str = "1") -> bytes:
        """Filled up to a whole byte."""
        text = self.text + end
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def pictures(folder: Path, tools: Tools) -> list[bytes]:
    """Each picture of two fields of their own time, as in the cells with fields: frames 1 and 2, 3 and 4, …"""
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{matrix.HEIGHT}", "-i", matrix.make_frames(folder)]
    view = f"scale=out_color_matrix=bt601:out_range=tv,format=yuv420p,pad={WIDTH}:{CODED_HEIGHT}"
    planes = matrix._output(tools.ffmpeg, *raw, "-vf", view, "-f", "rawvideo", "-")
    length = len(planes) // FRAMES
    frames = [planes[at : at + length] for at in range(0, len(planes), length)] + [planes[-length:]]
    return [
        _DELIMITER
        + (_parameters() if number % GOP == 0 else b"")
        + b"".join(_field(frames[2 * number + 1 + bottom], bottom, number) for bottom in (0, 1))
        for number in range(FRAMES // 2)
    ]


def stream(pictures: list[bytes]) -> bytes:
    return b"".join(pictures)


def avi(pictures: list[bytes], fields: int = 1) -> bytes:
    """Both fields of a picture in one chunk, or each of the two in a chunk of its own."""
    rate = RATE * fields
    if fields == 2:
        halves = (picture.rpartition(_DELIMITER) for picture in pictures)
        pictures = [field for first, mark, second in halves for field in (first, mark + second)]
    count, size = len(pictures), max(map(len, pictures))
    main = struct.pack("<10I16x", 1_000_000 // rate, 1 << 22, 0, 0x10, count, 0, 1, size, WIDTH, matrix.HEIGHT)
    head = b"vidsH264" + struct.pack("<IHH8I4H", 0, 0, 0, 0, 1, rate, 0, count, size, 0, 0, 0, 0, WIDTH, matrix.HEIGHT)
    form = struct.pack("<IiiHH4s5I", 40, WIDTH, matrix.HEIGHT, 1, 24, b"H264", 0, 0, 0, 0, 0)
    listed = _chunk(b"LIST", b"strl" + _chunk(b"strh", head) + _chunk(b"strf", form))
    listed = _chunk(b"LIST", b"hdrl" + _chunk(b"avih", main) + listed)
    body, index = b"movi", b""
    for number, picture in enumerate(pictures):
        index += b"00dc" + struct.pack("<3I", 0x10 * (number % (GOP * fields) == 0), len(body), len(picture))
        body += _chunk(b"00dc", picture + bytes(len(picture) % 2))
    return _chunk(b"RIFF", b"AVI " + listed + _chunk(b"LIST", body) + _chunk(b"idx1", index))


def mux(source: Path, target: Path, tools: Tools) -> Path:
    """With the sound of the cells with fields."""
    rate = ["-r", str(2 * RATE)] if source.suffix == ".h264" else ["-fflags", "+genpts"]
    tone = matrix.TONE.format(middle=FRAMES / RATE / 4)
    sound = ["-f", "lavfi", "-t", str(FRAMES / RATE / 2), "-i", tone]
    command = [tools.ffmpeg, "-v", "error", *rate, "-i", str(source), *sound, "-c:v", "copy", "-c:a", "aac"]
    subprocess.run([*command, str(target)], check=True)
    return target


def _parameters() -> bytes:
    """Of the sequence (7.3.2.1.1), whose frames are cropped by 12 rows and last two fiftieths of a second, and of the
    picture (7.3.2.2)."""
    sequence = Bits().u((8, 77), (8, 0), (8, 40)).ue(0, 0, 0, 0, 1).u((1, 0))
    sequence.ue(WIDTH // 16 - 1, CODED_HEIGHT // 32 - 1).u((1, 0), (1, 0), (1, 1), (1, 1))
    sequence.ue(0, 0, 0, (CODED_HEIGHT - matrix.HEIGHT) // 4)
    sequence.u((1, 1), (4, 0), (1, 1), (32, 1), (32, 2 * RATE), (1, 1), (4, 0))
    picture = Bits().ue(0, 0).u((2, 0)).ue(0, 0, 0).u((3, 0)).ue(0, 0, 0).u((1, 1), (2, 0))
    return _MARK + b"\x67" + _escaped(sequence.whole()) + _MARK + b"\x68" + _escaped(picture.whole())


def _field(frame: bytes, bottom: int, number: int) -> bytes:
    """A picture of every second row (7.3.3): IDR where a group of pictures begins. No sample is zero, so nothing looks
    like the beginning of another unit."""
    idr = not bottom and number % GOP == 0
    head = Bits().ue(0, 7, 0).u((4, number % GOP), (1, 1), (1, bottom)).ue(*([number // GOP % 2] if idr else []))
    head.u((4, 2 * (number % GOP) + bottom), (2 if idr else 1, 0)).ue(0, 1)
    planes = [[frame[at : at + width] for at in range(first, end, width)][bottom::2] for width, first, end in _PLANES]
    body = bytearray()
    for row in range(CODED_HEIGHT // 32):
        for column in range(WIDTH // 16):
            body += (Bits() if body else head).ue(25).whole(end="")
            for plane, side in zip(planes, (16, 8, 8), strict=True):
                for line in plane[row * side : (row + 1) * side]:
                    body += line[column * side : (column + 1) * side]
    return (_DELIMITER if bottom else b"") + b"\0\0\1" + (b"\x65" if idr else b"\x41") + body + b"\x80"


def _escaped(data: bytes) -> bytes:
    """Without what would look like the beginning of another unit (7.4.1)."""
    found = bytearray()
    for byte in data:
        if byte <= 3 and found[-2:] == b"\0\0":
            found.append(3)
        found.append(byte)
    return bytes(found)
