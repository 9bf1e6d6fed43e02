"""Finds the time at which ffmpeg must start reading, so that a clip begins with the requested frame.

MP4 and Matroska have an index of key frames, so ffmpeg starts at the key frame before the requested time. MPEG-TS, FLV
and AVI are treated as files without one: ffmpeg starts at the byte position of the time, the decoder needs the next key
frame, and the clip would begin too late. Here ffprobe lists the key frames before the requested time. Copying the file
into MP4 first, to get an index, was rejected: it reads the whole file, and a Machine reads 8 MiB/s.

A clip that begins before the first picture is read from the beginning of the file. The index of a Matroska file names
key frames only, so ffmpeg would start at the first one and leave out the sound before it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from reel import ffmpeg
from reel.errors import FfmpegFailed
from reel.media import MediaInfo
from reel.run import read_output
from reel.tools import Tools

_WITHOUT_INDEX: Final = ("mpegts", "flv", "avi")
# How many seconds back to look for a key frame; if there is none, ffmpeg reads from the beginning.
_WINDOWS_S: Final = (15.0, 120.0)
# ffmpeg's seek compares decoding times, which are earlier than presentation times.
_MARGIN_S: Final = 1.0


async def seek_point(path: Path, media: MediaInfo, start_s: float, *, tools: Tools, deadline_s: float) -> float:
    """The time of the source, in seconds, at which ffmpeg must start reading: `start_s` or earlier."""
    if start_s < media.video.begins_s:
        return 0.0
    if start_s <= 0 or not any(name in media.container for name in _WITHOUT_INDEX):
        return start_s
    for window_s in _WINDOWS_S:
        from_s = start_s - window_s
        if from_s <= 0:
            break
        clock_s = media.start_s
        listed = ffmpeg.key_frames(path, media.video.index, clock_s + from_s, clock_s + start_s, tools=tools)
        try:
            found = read_key_frames(await read_output(listed, deadline_s=deadline_s))
        except FfmpegFailed:
            break
        before = [at_s - media.start_s for at_s in found if at_s - media.start_s <= start_s]
        if before:
            return max(0.0, max(before) - _MARGIN_S)
    return 0.0


def read_key_frames(listed: bytes) -> list[float]:
    """Times of the packets that ffprobe flags as key frames."""
    times = []
    for line in listed.decode("ascii", "replace").splitlines():
        time, _, flags = line.partition(",")
        if flags.startswith("K") and time != "N/A":
            times.append(float(time))
    return times
