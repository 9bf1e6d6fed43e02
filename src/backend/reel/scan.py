"""What is looked for in a whole file, where neither its beginning nor its end proves that the rest is alike.

MP4 and Matroska name their codecs once, before the first picture. An MPEG-TS, a fragmented MP4, an FLV or a browser's
recording can be several recordings one behind the other: other codecs, a clock that begins anew, another length.
ffmpeg keeps using the decoders and the clock with which it began, so clips of the later part would be wrong.
"""

from __future__ import annotations

from typing import Final, Protocol

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
CLOCK_SLACK_S: Final = 5.0
"""B-frames and the two streams of a file lie this far apart at most; a clock that goes back further was set back."""


class Scan(Protocol):
    """Is fed with a whole file in order."""

    step: int
    """Each block but the last one must have a multiple of so many bytes."""
    fault: str | None
    """Why the file cannot be used; None as long as nothing was found."""

    def look(self, data: bytes) -> None:
        """Look at the next block of the file."""
        ...

    def settled(self, media: MediaInfo) -> MediaInfo:
        """`media` with the right length, after the last block. Raises UnusableVideo where no length can be told."""
        ...
