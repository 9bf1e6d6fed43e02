"""What is in a video file, by ffprobe; the one place that reads its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from reel import ffmpeg
from reel.errors import FfmpegFailed, NotAVideo, TruncatedVideo
from reel.run import read_output
from reel.tools import Tools

PROBE_DEADLINE_S = 60.0
_TRUNCATED_SIGNS = ("moov atom not found", "partial file", "File ended prematurely", "End of file")


@dataclass(frozen=True)
class VideoStream:
    """Size as it is shown (after the rotation flag), in pixels; frames per second, None where ffprobe knows none."""

    codec: str
    width: int
    height: int
    fps: Fraction | None


@dataclass(frozen=True)
class AudioStream:
    codec: str
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class MediaInfo:
    """A file with at least one video stream; duration in seconds."""

    container: str
    duration_s: float
    size_bytes: int
    video: VideoStream
    audio: AudioStream | None


async def probe(path: Path, *, tools: Tools, deadline_s: float = PROBE_DEADLINE_S) -> MediaInfo:
    """Read a file's streams; raises NotAVideo, TruncatedVideo, FfmpegTimedOut, MissingTool."""
    try:
        output = await read_output(ffmpeg.probe(path, tools=tools), deadline_s=deadline_s)
    except FfmpegFailed as error:
        if error.returncode < 0:
            raise
        raise _why_unreadable(error.tail) from error
    try:
        found = json.loads(output)
    except json.JSONDecodeError as error:
        raise NotAVideo("ffprobe could not describe this file") from error
    return read_probe(found)


def read_probe(found: Mapping[str, Any]) -> MediaInfo:
    """ffprobe's JSON as a MediaInfo; raises NotAVideo when there is no video stream or no duration."""
    streams = found.get("streams") or []
    container = found.get("format") or {}
    video = next((stream for stream in streams if _is_video(stream)), None)
    if video is None:
        kinds = ", ".join(sorted({str(stream.get("codec_type")) for stream in streams})) or "no streams"
        raise NotAVideo(f"The file has no video stream (found: {kinds})")
    audio = next((stream for stream in streams if stream.get("codec_type") == "audio"), None)
    duration = _seconds(container.get("duration")) or _seconds(video.get("duration"))
    if not duration:
        raise NotAVideo("The file has no duration: expected a video, not a picture or a live stream")
    return MediaInfo(
        container=str(container.get("format_name", "")),
        duration_s=duration,
        size_bytes=int(container.get("size") or 0),
        video=_video(video),
        audio=_audio(audio) if audio else None,
    )


def _is_video(stream: Mapping[str, Any]) -> bool:
    # A cover picture is a video stream to ffprobe.
    cover = (stream.get("disposition") or {}).get("attached_pic")
    return stream.get("codec_type") == "video" and not cover and int(stream.get("width") or 0) > 0


def _video(stream: Mapping[str, Any]) -> VideoStream:
    width, height = int(stream["width"]), int(stream["height"])
    if _rotation(stream) % 180 == 90:
        width, height = height, width
    return VideoStream(
        codec=str(stream.get("codec_name", "unknown")),
        width=width,
        height=height,
        fps=_rate(stream.get("avg_frame_rate")) or _rate(stream.get("r_frame_rate")),
    )


def _audio(stream: Mapping[str, Any]) -> AudioStream:
    return AudioStream(
        codec=str(stream.get("codec_name", "unknown")),
        sample_rate=int(stream.get("sample_rate") or 0),
        channels=int(stream.get("channels") or 0),
    )


def _rotation(stream: Mapping[str, Any]) -> int:
    for data in stream.get("side_data_list") or []:
        if "rotation" in data:
            return int(data["rotation"])
    return 0


def _rate(text: object) -> Fraction | None:
    try:
        rate = Fraction(str(text))
    except (ValueError, ZeroDivisionError):
        return None
    return rate if rate > 0 else None


def _seconds(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return 0.0


def _why_unreadable(tail: str) -> Exception:
    if any(sign in tail for sign in _TRUNCATED_SIGNS):
        return TruncatedVideo(f"The video is cut off: its index or its end is missing ({tail})")
    return NotAVideo(f"The file is not a video that can be read: expected MP4, MOV, MKV, WebM, TS, AVI or FLV ({tail})")
