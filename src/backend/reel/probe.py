"""Reads the properties of a video file with ffprobe. Only this module parses ffprobe's JSON."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from reel import ffmpeg
from reel.errors import FfmpegFailed, NotAVideo, TruncatedVideo, UnusableVideo
from reel.formats import AUDIO_CODECS, INTRA_CODECS, MAX_FRAME_BYTES, MAX_PIXELS, VIDEO_CODECS
from reel.media import LENGTH_SLACK_S, AudioStream, MediaInfo, Transfer, VideoStream
from reel.payloads import MIN_SPAN_SECONDS
from reel.run import read_output
from reel.tools import Tools

PROBE_DEADLINE_S = 60.0
_TRUNCATED_SIGNS = ("moov atom not found", "partial file", "File ended prematurely", "End of file")

# Of sound, enough for more than ten seconds.
_PACKETS = 2000
# By this part of a constant rate at most, the average may differ from it.
_SAME_RATE = Fraction(1, 200)

_TRANSFERS: dict[str, Transfer] = {"arib-std-b67": "hlg", "smpte2084": "pq"}
# ffprobe's `color_space` → what the scale filter calls the matrix (ITU-T H.273, table 4; ffmpeg-scaler,
# `in_color_matrix`).
_MATRICES = {
    "bt709": "bt709",
    "smpte170m": "bt601",
    "bt470bg": "bt601",
    "fcc": "fcc",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
}
# Codecs that have fields, for which ffprobe never tells the order (measured 2026-11-28 with ffmpeg 5.1.9 and 6.0).
_WITHOUT_FIELD_ORDER = ("mpeg4", "mjpeg", "dnxhd", "dvvideo")


async def probe(path: Path, *, tools: Tools, deadline_s: float = PROBE_DEADLINE_S) -> MediaInfo:
    """Read a file's streams; raises UnusableVideo (NotAVideo, TruncatedVideo), FfmpegTimedOut, MissingTool."""
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


@dataclass(frozen=True)
class Decoded:
    """What ffprobe could decode of one stream: how many packets it read, the bytes in them, the times of the frames in
    them, in ticks (None where a frame has none), whether a frame depends on others (type P or B), and whether one is
    a field or has two."""

    packets: int
    size_bytes: int
    frames: tuple[int | None, ...]
    dependent: bool = False
    fields: bool = False


async def decode(
    path: Path, streams: Sequence[int], seconds: int | None, *, key_frames_only: bool, tools: Tools, deadline_s: float
) -> list[Decoded]:
    """Decodes the first seconds of these streams, or all of them. Raises FfmpegFailed, FfmpegTimedOut."""
    command = ffmpeg.decoded(path, seconds, key_frames_only=key_frames_only, tools=tools)
    packets: dict[str, list[int]] = {}
    frames: dict[str, list[int | None]] = {}
    dependent: set[str] = set()
    fields: set[str] = set()
    for line in (await read_output(command, deadline_s=deadline_s)).decode("ascii", "replace").splitlines():
        kind, stream, text, picture, interlaced = [*line.split(","), "", "", "", ""][:5]
        number = int(text) if text.lstrip("-").isdigit() else None
        if kind == "packet":
            packets.setdefault(stream, []).append(number or 0)
        elif kind == "frame":
            frames.setdefault(stream, []).append(number)
            dependent |= {stream} if picture in ("P", "B") else set()
            fields |= {stream} if interlaced == "1" else set()
    names = [str(index) for index in streams]
    sizes = [packets.get(name, []) for name in names]
    shown = [tuple(frames.get(name, ())) for name in names]
    return [
        Decoded(len(size), sum(size), times, name in dependent, name in fields)
        for name, size, times in zip(names, sizes, shown, strict=True)
    ]


async def pace(path: Path, stream: int, *, tools: Tools, deadline_s: float) -> float:
    """How many times as long the first packets of a stream last by their times as by their contents; 1 where ffprobe
    does not know both of each. It is the median, because a damaged packet may have any length. Raises FfmpegFailed,
    FfmpegTimedOut."""
    command = ffmpeg.durations(path, stream, _PACKETS, tools=tools)
    output = (await read_output(command, deadline_s=deadline_s)).decode("ascii", "replace")
    try:
        packets = [(float(begins), float(length)) for begins, length, *_ in csv.reader(output.splitlines())]
    except ValueError:
        return 1.0
    found = [(later - begins) / length for (begins, length), (later, _) in pairwise(packets) if length > 0]
    return median(found) if found else 1.0


def read_probe(found: Mapping[str, Any]) -> MediaInfo:
    """ffprobe's JSON as a MediaInfo; raises NotAVideo when there is no video stream, UnusableVideo for one that cannot
    be decoded everywhere this code runs."""
    streams = found.get("streams") or []
    container = found.get("format") or {}
    pictures = [stream for stream in streams if _is_video(stream)]
    sized = [stream for stream in pictures if int(stream.get("width") or 0) > 0]
    video = _preferred([stream for stream in sized if not _is_one_picture(stream)] or sized)
    if video is None:
        for stream in pictures:  # without a decoder, ffprobe does not know the size
            _refuse_unknown(stream, None)
        if pictures:
            raise NotAVideo(
                f"The picture of the video cannot be decoded: none of its first frames is valid "
                f"{pictures[0]['codec_name']}, or the first one comes many seconds after the first sound. Copy the "
                "file again, or cut off its beginning, and upload that"
            )
        kinds = ", ".join(sorted({str(stream.get("codec_type")) for stream in streams})) or "no streams"
        raise NotAVideo(f"The file has no video stream (found: {kinds})")
    own = _beside(video, found.get("programs") or [])
    sounds = [one for one in streams if one.get("codec_type") == "audio" and (own is None or one.get("index") in own)]
    audio = _preferred(_heard(sounds, str(container.get("format_name"))))
    _refuse_unknown(video, audio)
    begins_s = max(0.0, _signed(video.get("start_time")) - _signed(container.get("start_time")))
    zero_s = begins_s if "mpegts" in str(container.get("format_name")) and begins_s <= LENGTH_SLACK_S else 0.0
    return MediaInfo(
        container=str(container.get("format_name", "")),
        duration_s=max(0.0, _length(container, video) - zero_s),
        size_bytes=int(container.get("size") or 0),
        video=replace(
            _video(video),
            interlaced=_may_have_fields(str(container.get("format_name")), video),
            late_s=_late(str(container.get("format_name")), video),
            begins_s=begins_s - zero_s,
            zero_s=zero_s,
        ),
        audio=_audio(audio) if audio else None,
        start_s=_signed(container.get("start_time")),
        unknown=tuple(
            _number(one)
            for one in streams
            if one.get("codec_name") == "bin_data" and (own is None or one.get("index") in own)
        ),
    )


def _refuse_unknown(video: Mapping[str, Any], audio: Mapping[str, Any] | None) -> None:
    codec = str(video.get("codec_name", "unknown"))
    if codec not in VIDEO_CODECS:
        raise UnusableVideo(f"The picture is in {codec}, which cannot be decoded here: convert it to H.264 first")
    if audio is not None and str(audio.get("codec_name", "unknown")) not in AUDIO_CODECS:
        raise UnusableVideo(
            f"The sound is in {audio.get('codec_name', 'an unknown format')}, which cannot be decoded here: convert it "
            "to AAC first, or remove it"
        )
    # ffmpeg 5.1.9, which is in the image, says "invalid sample size code (7)"; 6.0 decodes it (measured 2026-11-28).
    if audio is not None and audio.get("codec_name") == "flac" and str(audio.get("bits_per_raw_sample")) == "32":
        raise UnusableVideo("The sound is in FLAC with 32 bits, which cannot be decoded here: use at most 24 bits")
    if audio is not None and (not int(audio.get("sample_rate") or 0) or not int(audio.get("channels") or 0)):
        raise UnusableVideo("The sound is damaged: it has no sample rate or no channels")
    pixels = int(video.get("width") or 0) * int(video.get("height") or 0)
    if pixels > MAX_PIXELS:
        raise UnusableVideo(
            f"The picture has {video['width']}×{video['height']} pixels, more than fit into memory here: at most "
            f"{MAX_PIXELS / 1e6:g} million (4K)"
        )
    if codec not in INTRA_CODECS and pixels * _bytes_a_pixel(str(video.get("pix_fmt"))) > MAX_FRAME_BYTES:
        raise UnusableVideo(
            f"The picture has {video['width']}×{video['height']} pixels in {video['pix_fmt']}, more than fits into "
            "memory here: export it with 4:2:0, or smaller"
        )
    for data in video.get("side_data_list") or []:
        # Profile 5 has no picture that a decoder without Dolby Vision shows right (Dolby Vision Profiles and Levels).
        if data.get("dv_profile") == 5:
            raise UnusableVideo(
                "The picture is Dolby Vision profile 5, whose colours cannot be shown here: export it as SDR first"
            )


def _bytes_a_pixel(pixel_format: str) -> float:
    """Of a decoded frame in one of ffmpeg's pixel formats."""
    full = "444" in pixel_format or pixel_format.startswith("gbr")
    samples = 3 if full else 2 if "422" in pixel_format else 1.5
    return samples * (2 if re.search(r"p(9|1\d)[lb]e$", pixel_format) else 1)


def _preferred(streams: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The stream that a player takes: the first that the file marks as default, else the first."""
    marked = (stream for stream in streams if (stream.get("disposition") or {}).get("default"))
    return next(marked, streams[0] if streams else None)


def _beside(video: Mapping[str, Any], programs: list[Mapping[str, Any]]) -> set[object] | None:
    """The streams of the program that has this one; None where none has it. Of a transport stream with several
    programs, the first one may be radio."""
    for program in programs:
        streams = {stream.get("index") for stream in program.get("streams") or []}
        if video.get("index") in streams:
            return streams
    return None


def _heard(sounds: list[Mapping[str, Any]], container: str) -> list[Mapping[str, Any]]:
    """Those to choose from: without sound that a transport stream announces and does not have. Where there is anything
    else, also without sound that cannot be decoded here (a Blu-ray has TrueHD, then the same in AC-3), and without
    descriptions for the blind."""
    if "mpegts" in container:
        # Without a decoder, ffprobe knows no rate of a sound that is there.
        sounds = [
            one for one in sounds if int(one.get("sample_rate") or 0) or one.get("codec_name") not in AUDIO_CODECS
        ]
    sounds = [sound for sound in sounds if sound.get("codec_name") in AUDIO_CODECS] or sounds
    plain = [sound for sound in sounds if not (sound.get("disposition") or {}).get("visual_impaired")]
    return plain or sounds


def _is_one_picture(stream: Mapping[str, Any]) -> bool:
    """Whether a track has a single picture: a cover that is not marked as one. MP4 counts them; in Matroska, programs
    write tags with the number or the length."""
    tags = {str(name).split("-")[0]: str(value) for name, value in (stream.get("tags") or {}).items()}
    if "1" in (stream.get("nb_frames"), tags.get("NUMBER_OF_FRAMES")):
        return True
    hours, minutes, seconds = [*tags.get("DURATION", "").split(":"), "", ""][:3]
    length_s = _seconds(hours or 0) * 3600 + _seconds(minutes) * 60 + _seconds(seconds)
    return 0 < length_s < MIN_SPAN_SECONDS


def _is_video(stream: Mapping[str, Any]) -> bool:
    # A cover picture is a video stream to ffprobe.
    cover = (stream.get("disposition") or {}).get("attached_pic")
    return stream.get("codec_type") == "video" and not cover


def _video(stream: Mapping[str, Any]) -> VideoStream:
    coded = int(stream["width"]), int(stream["height"])
    width, height = max(1, round(coded[0] * _pixel_aspect(stream))), coded[1]
    if _rotation(stream) % 180 == 90:
        width, height = height, width
    transfer = _TRANSFERS.get(str(stream.get("color_transfer")), "sdr")
    matrix = _MATRICES.get(str(stream.get("color_space")))
    if matrix is None:
        # Without a tag, players go by the size: standard definition is BT.601, anything larger BT.709.
        matrix = "bt2020" if transfer != "sdr" else "bt709" if coded[1] >= 720 or coded[0] >= 1280 else "bt601"
    return VideoStream(
        codec=str(stream.get("codec_name", "unknown")),
        width=width,
        height=height,
        fps=_frame_rate(stream),
        transfer=transfer,
        matrix=matrix,
        full_range=stream.get("color_range") == "pc" or str(stream.get("pix_fmt")).startswith("yuvj"),
        wide_gamut=stream.get("color_primaries") == "bt2020",
        index=int(stream.get("index") or 0),
        rotation=_rotation(stream),
        number=_number(stream),
    )


def _number(stream: Mapping[str, Any]) -> int:
    """What the container calls the stream, in a transport stream its PID."""
    return int(str(stream.get("id") or "0"), 0)


def _may_have_fields(container: str, video: Mapping[str, Any]) -> bool:
    """Whether frames may consist of two fields. Each frame says whether it does."""
    codec, order = video.get("codec_name"), video.get("field_order", "unknown")
    if order == "unknown":
        # H.264 too, where each field is a picture of its own (PAFF) and both are in one packet (measured as above).
        return codec == "h264" or codec in _WITHOUT_FIELD_ORDER
    # A receiver records what is sent: a film, then a match.
    return order != "progressive" or ("mpegts" in container and codec in ("h264", "mpeg2video"))


def _late(container: str, video: Mapping[str, Any]) -> float:
    """By how much the times of the pictures are too late, in seconds.

    AVI has no times. ffmpeg counts the frames in the order in which they are stored, and a decoder that puts B-frames
    into their order shows the first one when it has read as many more as it holds back (`has_b_frames`).
    """
    rate = _frame_rate(video)
    if container != "avi" or rate is None:
        return 0.0
    return float(int(video.get("has_b_frames") or 0) / rate)


def _frame_rate(stream: Mapping[str, Any]) -> Fraction | None:
    """Frames per second on average, or the rate of the grid on which all times lie (`r_frame_rate`) if the two are that
    near: one frame that is longer than the others, as ffmpeg writes it into a fragmented MP4, changes the average."""
    average, grid = _rate(stream.get("avg_frame_rate")), _rate(stream.get("r_frame_rate"))
    if average is None or (grid is not None and abs(average - grid) <= grid * _SAME_RATE):
        return grid
    return average


def _audio(stream: Mapping[str, Any]) -> AudioStream:
    return AudioStream(
        codec=str(stream.get("codec_name", "unknown")),
        sample_rate=int(stream.get("sample_rate") or 0),
        channels=int(stream.get("channels") or 0),
        index=int(stream.get("index") or 0),
    )


def _length(container: Mapping[str, Any], video: Mapping[str, Any]) -> float:
    """How long the picture lasts, in seconds. Sound after its end is not counted, because it cannot be cut."""
    name = str(container.get("format_name"))
    whole, begins_s = _seconds(container.get("duration")), _signed(container.get("start_time"))
    if "matroska" in name and whole:
        whole -= min(0.0, begins_s)  # the file says when it ends
    picture = _seconds(video.get("duration"))
    rate = _rate(video.get("avg_frame_rate"))
    if "mov" in name and not picture and rate is not None:
        # Where mdhd has none, ffmpeg 6.0 has no length, and 5.1.9 takes that in mvhd (measured 2026-11-28).
        picture = float(_seconds(video.get("nb_frames")) / rate)
    if not picture:
        return whole
    end = picture + _signed(video.get("start_time")) - begins_s
    if "mov" in name and end > 0:
        return end  # ffmpeg 5.1.9 takes the length of the file from mvhd, which may be wrong
    return min(whole, end) if whole and end > 0 else picture


def _pixel_aspect(stream: Mapping[str, Any]) -> Fraction:
    """Width of a pixel over its height; 1 where the file says nothing, or something absurd."""
    text = str(stream.get("sample_aspect_ratio", "1:1")).replace(":", "/")
    aspect = _rate(text)
    return aspect if aspect is not None and Fraction(1, 4) <= aspect <= 4 else Fraction(1)


def _rotation(stream: Mapping[str, Any]) -> int:
    """0, 90, 180 or 270 degrees; raises UnusableVideo for any other, which ffmpeg would draw into a frame of another
    size. It allows a degree of difference too (fftools/ffmpeg_filter.c)."""
    for data in stream.get("side_data_list") or []:
        if "rotation" in data:
            degrees = float(data["rotation"])
            if abs(degrees - 90 * round(degrees / 90)) <= 1:
                return 90 * round(degrees / 90) % 360
            raise UnusableVideo(
                f"The video is turned by {degrees:g}°, expected a multiple of 90°: turn it with a video editor first"
            )
    return 0


def _rate(text: object) -> Fraction | None:
    try:
        rate = Fraction(str(text))
    except (ValueError, ZeroDivisionError):
        return None
    return rate if rate > 0 else None


def _seconds(text: object) -> float:
    return max(0.0, _signed(text))


def _signed(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return 0.0


def _why_unreadable(tail: str) -> Exception:
    if any(sign in tail for sign in _TRUNCATED_SIGNS):
        return TruncatedVideo(f"The video is cut off: its index or its end is missing ({tail})")
    return NotAVideo(f"The file is not a video that can be read: expected MP4, MOV, MKV, WebM, TS, AVI or FLV ({tail})")
