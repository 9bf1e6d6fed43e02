"""What is looked for in a whole file, where neither its beginning nor its end proves that the rest is alike.

MP4 and Matroska name their codecs once, before the first picture. An MPEG-TS, a fragmented MP4, an FLV or a browser's
recording can be several recordings one behind the other: other codecs, a clock that begins anew, another length.
ffmpeg keeps using the decoders and the clock with which it began, so clips of the later part would be wrong.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

from reel.media import MediaInfo

JOINED: Final = (
    "The file consists of several videos that were joined byte by byte, and only the first of them can be used: join "
    "them into one MP4 with a video editor first, and upload that"
)
CLOCK_BEGINS_ANEW: Final = (
    "The clock of this recording begins anew in the middle, so times within it mean nothing: join its parts into one "
    "MP4 first, and upload that"
)
FORMATS_CHANGE: Final = (
    "The recording changes the format of its picture or its sound in the middle, and cannot be decoded in one go: make "
    "one MP4 of its parts first, and upload that"
)
COLOURS_CHANGE: Final = (
    "The recording changes how its colours are stored in the middle (SDR and HDR, or standard and high definition), so "
    "a part of it would have wrong colours: make one MP4 of its parts with a video editor first, and upload that"
)
ENCRYPTED: Final = (
    "The recording, or a part of it, is encrypted by its broadcaster and cannot be decoded here: record it with a "
    "receiver that decrypts it, and upload that"
)
# A checkpoint has some hundred bytes; that of a file which was made to have thousands of streams is not stored.
MAX_CHECKPOINT_CHARACTERS: Final = 64 * 1024
CLOCK_SLACK_S: Final = 5.0
"""B-frames and the two streams of a file lie this far apart at most; a clock that goes back further was set back."""


class Scan(Protocol):
    """Is fed with a whole file in order."""

    step: int
    """Each block but the last one must have a multiple of so many bytes."""
    fault: str | None
    """Why the file cannot be used; None as long as nothing was found."""

    @property
    def kept(self) -> tuple[str, ...]:
        """The attributes that hold what was found so far: numbers, bytes, tuples, sets and dicts of them, and objects
        that have `kept` too."""
        ...

    def look(self, data: bytes) -> None:
        """Look at the next block of the file."""
        ...

    def unread(self) -> int:
        """How many of the bytes that it was given last are not in `kept`: a scan that is resumed needs them again."""
        ...

    def settled(self, media: MediaInfo) -> MediaInfo:
        """`media` with the right length, after the last block. Raises UnusableVideo where no length can be told."""
        ...


def save(scan: Scan, fed: int) -> str | None:
    """What another process needs to go on with a scan that was given the first `fed` bytes of a file; None where that
    would be too long to store."""
    text = repr((_code(), type(scan).__name__, fed - scan.unread(), _state(scan)))
    return text if len(text) <= MAX_CHECKPOINT_CHARACTERS else None


def resume(scan: Scan, text: str | None) -> int:
    """Put a new scan of the same file into the state of a checkpoint, and return the offset from which it must be given
    the file: 0, with an unchanged scan, where the checkpoint is none of this code's."""
    try:
        code, kind, offset, found = ast.literal_eval(text or "")
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return 0
    if code != _code() or kind != type(scan).__name__:
        return 0
    _restore(scan, found)
    return int(offset)


def _state(part: Any) -> dict[str, Any]:
    values = {name: getattr(part, name) for name in part.kept}
    return {name: _state(value) if hasattr(value, "kept") else value for name, value in values.items()}


def _restore(part: Any, state: dict[str, Any]) -> None:
    for name, value in state.items():
        inner = getattr(part, name)
        if hasattr(inner, "kept"):
            _restore(inner, value)
        else:
            setattr(part, name, value)


@cache
def _code() -> str:
    """Is another one after each change of this package: what a scan of other code has found may mean something else."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
