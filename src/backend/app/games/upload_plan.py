"""How a file of a given size is uploaded: in one piece, or in equal parts; and how long its URLs may be good for."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from app.settings import Settings

MAX_PARTS: Final = 10_000
_MIB: Final = 1024 * 1024
_DAY_S: Final = 86_400.0
# What ffmpeg may open (reel.ffmpeg.SAFE_DEMUXERS), by the usual endings.
EXTENSIONS: Final = ("mp4", "mov", "m4v", "mkv", "webm", "ts", "m2ts", "mts", "m2t", "avi", "flv", "3gp")


@dataclass(frozen=True)
class Part:
    """A part's number, from 1, and its size in bytes."""

    number: int
    size: int


def plan_parts(size: int, settings: Settings) -> list[Part]:
    """Parts of equal size with a smaller last one, as R2 requires. An empty list means a single PUT."""
    if size < settings.multipart_threshold_bytes:
        return []
    part = settings.part_bytes
    if size > part * MAX_PARTS:
        part = -(-size // MAX_PARTS // _MIB) * _MIB + _MIB
    whole, rest = divmod(size, part)
    parts = [Part(number, part) for number in range(1, whole + 1)]
    return [*parts, Part(whole + 1, rest)] if rest else parts


def urls_seconds(settings: Settings) -> float:
    """After how many seconds no URL of an upload is good any more: a day, unless the URLs themselves last longer. The
    margin covers Machines whose clocks differ."""
    return max(_DAY_S, float(settings.presign_seconds))


def extension(filename: str) -> str | None:
    """The file name extension for the stored object; None if it is not that of a video."""
    found = PurePosixPath(filename).suffix.lower().removeprefix(".")
    return found if found in EXTENSIONS else None
