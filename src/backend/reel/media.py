"""The properties of a video file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

# What a file tells of its length counts up to this difference: the last sound may end so much after the last picture.
LENGTH_SLACK_S: Final = 0.1

Transfer = Literal["sdr", "hlg", "pq"]


@dataclass(frozen=True)
class VideoStream:
    """The picture, as a player shows it.

    `width` and `height` are in square pixels, after the pixel aspect ratio and the rotation flag. `fps` is frames per
    second, None where ffprobe knows none. `matrix` is the YCbCr matrix as ffmpeg's scale filter names it. `index` is
    the stream's place in the file. `late_s` is by how much ffmpeg's times of the pictures are too late. `begins_s` is
    how long the sound is there before the first picture. `zero_s` is where in the file the times of clips begin: an
    encoder's sound begins up to `LENGTH_SLACK_S` before the first picture, and a transport stream cannot say, as MP4
    does, that players leave that out. `interlaced` is whether frames may consist of two fields. `rotation` is by how
    many degrees a player turns the picture to the left. `number` is what the container calls
    the stream, in a transport stream its PID.
    """

    codec: str
    width: int
    height: int
    fps: Fraction | None
    interlaced: bool = False
    transfer: Transfer = "sdr"
    matrix: str = "bt709"
    full_range: bool = False
    wide_gamut: bool = False
    index: int = 0
    late_s: float = 0.0
    begins_s: float = 0.0
    zero_s: float = 0.0
    number: int = 0
    rotation: int = 0


@dataclass(frozen=True)
class AudioStream:
    codec: str
    sample_rate: int
    channels: int
    index: int = 1


@dataclass(frozen=True)
class MediaInfo:
    """A file with at least one video stream.

    `duration_s` is in seconds, 0.0 where the container does not tell it; `start_s` is what the container's clock shows
    at the beginning. `torn` is whether it is an AVI that lost pictures in the middle, where that was looked for.
    `unknown` are the numbers of the streams beside the picture of which ffprobe does not know what they hold.
    """

    container: str
    duration_s: float
    size_bytes: int
    video: VideoStream
    audio: AudioStream | None
    start_s: float = 0.0
    torn: bool = False
    unknown: tuple[int, ...] = ()


def with_last_picture(media: MediaInfo, last_s: float | None) -> MediaInfo:
    """The length by when the last picture begins, where what the file says differs from it by more than a frame."""
    if last_s is None:
        return media
    frame_s = float(1 / media.video.fps) if media.video.fps else 0.0
    length_s = last_s + frame_s - media.start_s
    slack_s = min(LENGTH_SLACK_S, frame_s)
    return media if abs(media.duration_s - length_s) <= slack_s else replace(media, duration_s=length_s)
