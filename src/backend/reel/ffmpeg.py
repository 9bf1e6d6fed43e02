"""Argument lists for ffmpeg and ffprobe; nothing is run here.

Written for a Machine with 512 MB and one shared CPU: one thread per codec, short look-ahead, one source open at a
time. Only filters, codecs and protocols that the image's own ffmpeg has (see the Dockerfile) are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from reel.payloads import Quality
from reel.tools import Tools

# Demuxers that may open what people upload: playlists and scripts (hls, concat) could name files of this machine.
SAFE_DEMUXERS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,avi,flv"
AUDIO_RATE: Final = 48_000
REEL_RATE: Final = 30
FADE_SECONDS: Final = 0.25

_ENCODER: Final[dict[Quality, tuple[str, str]]] = {
    "draft": ("ultrafast", "28"),
    "standard": ("veryfast", "23"),
    "high": ("veryfast", "20"),
}


@dataclass(frozen=True)
class Segment:
    """One piece of the output: `frames` frames at `rate`, from `start_s` of the source, at a given frame size.

    The picture is scaled into the frame and centred on black.
    """

    source: Path
    start_s: float
    frames: int
    rate: Fraction
    width: int
    height: int
    quality: Quality
    has_audio: bool
    fade: bool = False
    overlay: Path | None = None
    overlay_x: int = 0
    overlay_y: int = 0

    @property
    def duration_s(self) -> float:
        return float(self.frames / self.rate)

    @property
    def samples(self) -> int:
        return round(self.frames * AUDIO_RATE / self.rate)


def probe(path: Path, *, tools: Tools) -> list[str]:
    """ffprobe: format and streams as JSON."""
    return [
        tools.ffprobe,
        *("-v", "error", "-format_whitelist", SAFE_DEMUXERS, "-protocol_whitelist", "file"),
        *("-print_format", "json", "-show_format", "-show_streams", _file(path)),
    ]


def segment(piece: Segment, output: Path, *, tools: Tools) -> list[str]:
    """Cut, normalise and encode one piece. Audio is raw (MOV) for joining, or AAC where the output is an MP4."""
    final = output.suffix == ".mp4"
    overlay = ["-i", _file(piece.overlay)] if piece.overlay else []
    preset, crf = _ENCODER[piece.quality]
    return [
        *_start(tools),
        *("-format_whitelist", SAFE_DEMUXERS, "-protocol_whitelist", "file", "-threads", "1"),
        *("-ss", f"{piece.start_s:.6f}", "-i", _file(piece.source)),
        *overlay,
        *("-filter_complex_threads", "1", "-filter_complex", segment_filters(piece)),
        *("-map", "[video]", "-map", "[audio]", "-map_metadata", "-1", "-map_chapters", "-1"),
        *("-frames:v", str(piece.frames)),
        *("-c:v", "libx264", "-preset", preset, "-crf", crf, "-pix_fmt", "yuv420p", "-threads", "1"),
        # The joined file is a copy of the pieces: without B-frames every piece begins at time zero.
        *("-bf", "0", "-g", str(round(2 * piece.rate)), "-x264-params", "rc-lookahead=10:sync-lookahead=0"),
        *("-video_track_timescale", str(_timescale(piece.rate))),
        *(("-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart") if final else ("-c:a", "pcm_s16le")),
        _file(output),
    ]


def segment_filters(piece: Segment) -> str:
    """The filter graph of `segment`: exactly `frames` frames and as much sound, whatever the source lacks."""
    size = f"{piece.width}:{piece.height}"
    video = [
        f"fps={piece.rate}:start_time=0",
        f"scale={size}:force_original_aspect_ratio=decrease:force_divisible_by=2",
        f"pad={size}:(ow-iw)/2:(oh-ih)/2",
        "setsar=1",
        "format=yuv420p",
        # A source whose picture ends before its sound holds its last frame.
        "tpad=stop_mode=clone:stop=-1",
        f"trim=end_frame={piece.frames}",
    ]
    audio = [
        f"aresample={AUDIO_RATE}:async=1:first_pts=0",
        "aformat=sample_fmts=s16:channel_layouts=stereo",
        "apad",
        f"atrim=end_sample={piece.samples}",
    ]
    if piece.fade:
        length = min(FADE_SECONDS, piece.duration_s / 4)
        out = piece.duration_s - length
        video += [f"fade=t=in:st=0:d={length:.4f}", f"fade=t=out:st={out:.4f}:d={length:.4f}"]
        audio += [f"afade=t=in:st=0:d={length:.4f}", f"afade=t=out:st={out:.4f}:d={length:.4f}"]
    # As a filter: an lavfi input would speak pcm_u8, which the image's ffmpeg does not decode.
    sound = "[0:a:0]" if piece.has_audio else f"anullsrc=channel_layout=stereo:sample_rate={AUDIO_RATE},"
    graph = [f"{sound}{','.join(audio)}[audio]"]
    if piece.overlay is None:
        return ";".join([f"[0:v:0]{','.join(video)}[video]", *graph])
    place = f"x={piece.overlay_x}:y={piece.overlay_y}"
    laid = f"[plain][1:v:0]overlay={place}:eof_action=repeat,format=yuv420p,trim=end_frame={piece.frames}[video]"
    return ";".join([f"[0:v:0]{','.join(video)}[plain]", laid, *graph])


def join(listing: Path, output: Path, *, tools: Tools) -> list[str]:
    """Join pieces of one shape: pictures are copied, sound is encoded once over all of them (no gaps)."""
    return [
        *_start(tools),
        *("-f", "concat", "-safe", "0", "-protocol_whitelist", "file", "-i", _file(listing)),
        *("-map", "0:v:0", "-map", "0:a:0", "-c:v", "copy", "-c:a", "aac", "-b:a", "128k", "-threads", "1"),
        *("-movflags", "+faststart", _file(output)),
    ]


def join_listing(pieces: list[Path]) -> str:
    """The script for `join`; names are those of our own temporary files."""
    return "".join(f"file 'file:{piece}'\n" for piece in pieces)


def _start(tools: Tools) -> list[str]:
    return [
        tools.ffmpeg,
        *("-hide_banner", "-nostdin", "-y", "-v", "error", "-nostats", "-progress", "pipe:1", "-stats_period", "0.5"),
    ]


def _file(path: Path | None) -> str:
    # With the protocol named, no file name is ever read as an option or as another protocol.
    return f"file:{path}"


def _timescale(rate: Fraction) -> int:
    return rate.numerator * (1 if rate.numerator >= 10_000 else 512)
