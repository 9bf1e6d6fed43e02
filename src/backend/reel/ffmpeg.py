"""Builds argument lists for ffmpeg and ffprobe. `reel.run` runs them.

Written for a Machine with 512 MB and one shared CPU: one thread per codec, short look-ahead, one source open at a
time. Only filters, codecs and protocols that the image's own ffmpeg has (see the Dockerfile) are used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from reel.media import MediaInfo, VideoStream
from reel.payloads import Quality
from reel.tools import Tools

# Demuxers that may open uploads. Playlists and scripts (hls, concat) are excluded: they could name local files.
SAFE_DEMUXERS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,avi,flv"
AUDIO_RATE: Final = 48_000
REEL_RATE: Final = 30
FADE_SECONDS: Final = 0.25
AAC_RATE: Final = 128_000
MIN_VIDEO_RATE: Final = 64_000
# ffmpeg takes no more than 2^31 - 1, which a limit for a game of a second or two would exceed.
MAX_VIDEO_RATE: Final = 200_000_000
# ffmpeg's message when an audio stream changes its layout or rate (libavfilter/buffersrc.c).
SOUND_CHANGES: Final = "Changing audio frame properties on the fly is not supported"
# Mono is played at full volume on both channels, as players do; ffmpeg's default reduces it by 3 dB.
MONO_GAIN: Final = "volume=1+(sqrt(2)-1)*not(nb_channels-1)"
# Surround is mixed as in ITU-R BS.775: front 1, centre and surround 0.7, no low-frequency effects. With integer samples
# ffmpeg would divide the sum by its maximum, 2.4, so a clip in 5.1 would be 8 dB quieter than one in stereo. With float
# samples it does not, and a limiter reduces the rare peaks.
LIMITER: Final = "alimiter=level=disabled:limit=0.97:latency=1"
# ffmpeg knows no layout with more channels than 7.1, except for 16 and 24. Recorders of several tracks put the mix into
# the first two.
MOST_CHANNELS: Final = 8
FIRST_TWO: Final = "pan=stereo|c0=c0|c1=c1"
# The picture at the start of a piece may have begun this long before, if it is the last one of the file.
HOLD_SECONDS: Final = 10.0
# Their decoders show grey, or changes on grey, in the place of a picture that depends on missing ones. Those of the
# other codecs show nothing (measured 2026-11-28 with ffmpeg 6.0).
_SHOWS_GREY: Final = frozenset({"hevc", "mpeg4", "h263", "flv1"})
# After this time, pictures are shown even if none is a key frame: some encoders renew a part of each picture instead.
_WITHOUT_KEY_S: Final = 20
# Degrees to the left, as filters.
_TURNED: Final = {90: ("transpose=cclock",), 180: ("hflip", "vflip"), 270: ("transpose=clock",)}

_ENCODER: Final[dict[Quality, tuple[str, str]]] = {
    "draft": ("ultrafast", "28"),
    "standard": ("veryfast", "23"),
    "high": ("veryfast", "20"),
}


@dataclass(frozen=True)
class Segment:
    """One piece of the output: `frames` frames at `rate`, from `start_s` of the source, at a given frame size.

    The picture is converted to square pixels, scaled into the frame and centred on black. ffmpeg seeks to the key frame
    before `seek_s` and drops everything before `start_s`, because not every container has an index of key frames
    (`reel.seek`). `table` converts HDR to SDR (`reel.colour`). `sound` is a file with the audio of this piece
    (`sound_of`), for a source whose audio format changes in the middle.
    """

    source: Path
    media: MediaInfo
    start_s: float
    frames: int
    rate: Fraction
    width: int
    height: int
    quality: Quality
    seek_s: float | None = None
    table: Path | None = None
    fade_in: bool = False
    fade_out: bool = False
    sound: Path | None = None
    overlay: Path | None = None
    overlay_x: int = 0
    overlay_y: int = 0
    max_bytes: int = 0

    @property
    def bit_rate(self) -> int | None:
        """Highest video bit rate in bits per second, so that the file has about `max_bytes`; None without a limit."""
        if not self.max_bytes:
            return None
        rate = int(self.max_bytes * 8 / max(self.duration_s, 1.0)) - AAC_RATE
        return min(MAX_VIDEO_RATE, max(MIN_VIDEO_RATE, rate))

    @property
    def duration_s(self) -> float:
        return float(self.frames / self.rate)

    @property
    def samples(self) -> int:
        return round(self.frames * AUDIO_RATE / self.rate)

    @property
    def is_transport(self) -> bool:
        """Whether the source is an MPEG-TS."""
        return "mpegts" in self.media.container

    @property
    def begins_s(self) -> float:
        """The time of the source at which ffmpeg starts to read, in seconds."""
        return self.start_s if self.seek_s is None else self.seek_s


def probe(path: Path, *, tools: Tools) -> list[str]:
    """ffprobe command: format, streams, and which streams belong to the same program as JSON."""
    return [
        tools.ffprobe,
        *("-v", "error", "-format_whitelist", SAFE_DEMUXERS, "-protocol_whitelist", "file"),
        *("-print_format", "json", "-show_format", "-show_streams", "-show_programs", _file(path)),
    ]


def key_frames(path: Path, stream: int, from_s: float, to_s: float, *, tools: Tools) -> list[str]:
    """ffprobe command: time and flags of a stream's packets between two container times, one packet per line."""
    return [
        tools.ffprobe,
        *("-v", "error", "-format_whitelist", SAFE_DEMUXERS, "-protocol_whitelist", "file"),
        *("-select_streams", str(stream), "-show_entries", "packet=pts_time,flags", "-print_format", "csv=p=0"),
        *("-read_intervals", f"{from_s:.3f}%{to_s:.3f}", _file(path)),
    ]


def durations(path: Path, stream: int, packets: int, *, tools: Tools) -> list[str]:
    """ffprobe command: time and duration of a stream's first packets, one packet per line."""
    return [
        *(tools.ffprobe, "-v", "error", "-format_whitelist", SAFE_DEMUXERS, "-protocol_whitelist", "file"),
        *("-select_streams", str(stream), "-show_entries", "packet=pts_time,duration_time", "-print_format", "csv=p=0"),
        *("-read_intervals", f"%+#{packets}", _file(path)),
    ]


def decoded(path: Path, seconds: int | None, *, key_frames_only: bool, tools: Tools) -> list[str]:
    """ffprobe command: the stream and the size of each packet, and of each decoded frame the stream, the time, the type
    (I, P, B) and whether it has fields, in the first seconds (None: in all), one per line. Frames count that a decoder
    considers incomplete, as in a recording without key frames."""
    return [
        *(tools.ffprobe, "-v", "error", "-format_whitelist", SAFE_DEMUXERS, "-protocol_whitelist", "file"),
        *("-threads", "1", "-flags", "+output_corrupt", *(("-skip_frame", "nokey") if key_frames_only else ())),
        *(("-read_intervals", f"%+{seconds}") if seconds else ()),
        *("-show_entries", "packet=stream_index,size:frame=stream_index,pts,pict_type,interlaced_frame"),
        *("-print_format", "csv", _file(path)),
    ]


def segment(piece: Segment, output: Path, *, tools: Tools) -> list[str]:
    """Cut, normalise and encode one piece. Audio is raw (MOV) for joining, or AAC where the output is an MP4."""
    final = output.suffix == ".mp4"
    overlay = ["-i", _file(piece.overlay)] if piece.overlay else []
    sound = ["-i", _file(piece.sound)] if piece.sound else []
    preset, crf = _ENCODER[piece.quality]
    return [
        *_start(tools),
        *("-format_whitelist", SAFE_DEMUXERS, "-protocol_whitelist", "file", "-threads", "1"),
        # Without -ss at the beginning: FLV without an index of key frames cannot seek to 0.
        # All frames from the key frame on enter the graph, because the picture at the start may be an earlier frame.
        *(("-noaccurate_seek", "-ss", f"{piece.begins_s:.6f}") if piece.begins_s > 0 else ()),
        # Where the clock of a transport stream goes back by more than 0.1 s, ffmpeg would move what follows.
        *(("-copyts", "-start_at_zero") if piece.is_transport else ()),
        *_by_index(piece.media),
        # A stream that changes its form goes on in the same graph: a new one would begin to count frames again. A
        # picture of another size is scaled; sound of another layout or rate ends the command with SOUND_CHANGES.
        # Fields are rows: the graph turns a picture with fields itself, after it has put them together.
        *(["-noautorotate"] if piece.media.video.interlaced else []),
        *("-reinit_filter", "0", "-i", _file(piece.source)),
        *overlay,
        *sound,
        *("-filter_complex_threads", "1", "-filter_complex", segment_filters(piece)),
        *("-map", "[video]", "-map", "[audio]", "-map_metadata", "-1", "-map_chapters", "-1"),
        # The graph counts the frames. In ffmpeg 5.1, -frames:v would also cut audio that lags behind the video.
        *("-c:v", "libx264", "-preset", preset, "-crf", crf, "-pix_fmt", "yuv420p", "-threads", "1"),
        *(("-maxrate", str(piece.bit_rate), "-bufsize", str(piece.bit_rate)) if piece.bit_rate else ()),
        # The pieces are joined without encoding, so each must begin at time zero, which requires no B-frames.
        *("-bf", "0", "-g", str(round(2 * piece.rate)), "-x264-params", "rc-lookahead=10:sync-lookahead=0"),
        *("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"),
        *("-video_track_timescale", str(_timescale(piece.rate))),
        *(("-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart") if final else ("-c:a", "pcm_s16le")),
        _file(output),
    ]


def sound_of(piece: Segment, output: Path, *, tools: Tools) -> list[str]:
    """The sound of a piece, in one form, into a Matroska file that keeps its times. Each change of the source's layout
    or rate begins a new filter graph, so nothing here may count samples."""
    assert piece.media.audio is not None
    return [
        *_start(tools),
        *("-format_whitelist", SAFE_DEMUXERS, "-protocol_whitelist", "file", "-threads", "1"),
        *(("-ss", f"{piece.start_s:.6f}") if piece.start_s > 0 else ()),
        *_by_index(piece.media),
        *("-i", _file(piece.source), "-map", f"0:{piece.media.audio.index}", "-t", f"{piece.duration_s + 1:.3f}"),
        *("-af", ",".join([*_known_layout(piece), MONO_GAIN, f"aresample={AUDIO_RATE}", *_stereo(limited=True)])),
        *("-map_metadata", "-1", "-map_chapters", "-1", "-c:a", "pcm_s16le", _file(output)),
    ]


def segment_filters(piece: Segment) -> str:
    """The filter graph of `segment`: exactly `frames` frames and audio of the same length, even of a short source."""
    # The piece begins at time zero; earlier frames have negative times.
    lead_s = piece.start_s - (0.0 if piece.is_transport else piece.begins_s)
    ahead_s = lead_s + piece.media.video.late_s
    video = [
        *from_key_frame(piece.media),
        *(_without_fields(piece.media.video) if piece.media.video.interlaced else []),
        *([f"setpts=PTS-{ahead_s:.6f}/TB"] if ahead_s > 0 else []),
        # Each frame is shown until the next one; the first one also before its time, the last one also after its end.
        f"fps={piece.rate}:start_time={-min(HOLD_SECONDS, piece.start_s):.6f}",
        "tpad=stop_mode=clone:stop=-1",
        f"trim=start_pts=0:end_pts={piece.frames}",
        *_scaled(piece),
        f"pad={piece.width}:{piece.height}:(ow-iw)/2:(oh-ih)/2:eval=frame",
        "setsar=1",
    ]
    audio = [
        *([f"asetpts=PTS-{lead_s:.6f}/TB"] if lead_s > 0 and piece.sound is None else []),
        "atrim=start=0",
        *(_known_layout(piece) if piece.sound is None else []),
        # Where parts of a recording meet, they may overlap or lack some milliseconds, each time.
        MONO_GAIN,
        f"aresample={AUDIO_RATE}:async=1:first_pts=0{':min_hard_comp=0.01' if piece.sound else ''}",
        *_stereo(limited=piece.sound is None and piece.media.audio is not None and piece.media.audio.channels > 2),
        "apad",
        f"atrim=end_sample={piece.samples}",
    ]
    length = min(FADE_SECONDS, piece.duration_s / 4)
    fades = [
        *([f"fade=t=in:st=0:d={length:.4f}"] if piece.fade_in else []),
        *([f"fade=t=out:st={piece.duration_s - length:.4f}:d={length:.4f}"] if piece.fade_out else []),
    ]
    video += fades
    audio += [f"a{fade}" for fade in fades]
    # Silence as a filter, which needs no further input.
    # By index, because unusable streams (a cover, one without a picture) may come before them.
    picture = f"[0:{piece.media.video.index}]"
    heard = piece.media.audio
    apart = f"[{2 if piece.overlay else 1}:a:0]"
    sound = (
        apart
        if piece.sound
        else f"[0:{heard.index}]"
        if heard
        else f"anullsrc=channel_layout=stereo:sample_rate={AUDIO_RATE},"
    )
    graph = [f"{sound}{','.join(audio)}[audio]"]
    if piece.overlay is None:
        return ";".join([f"{picture}{','.join(video)}[video]", *graph])
    place = f"x={piece.overlay_x}:y={piece.overlay_y}"
    laid = f"[plain][1:v:0]overlay={place}:eof_action=repeat,format=yuv420p,trim=end_frame={piece.frames}[video]"
    return ";".join([f"{picture}{','.join(video)}[plain]", laid, *graph])


def from_key_frame(media: MediaInfo) -> list[str]:
    """A filter that leaves out what is decoded before the first key frame. A live capture may begin between two.

    Not for MP4, where an edit list may begin behind a key frame: that one is decoded, but does not get here."""
    if media.video.codec not in _SHOWS_GREY or "mov" in media.container:
        return []
    return [f"select='key+gt(selected_n,0)+gte(t-start_t,{_WITHOUT_KEY_S})'"]


def _without_fields(seen: VideoStream) -> list[str]:
    """Filters that make one frame of each pair of fields, so the rate stays. Frames that are not marked as interlaced
    pass unchanged. The filter fails if the frame size changes, so all frames are scaled to the size of the first one.
    """
    return ["scale=iw:ih", "bwdif=mode=send_frame:deint=interlaced", *_TURNED.get(seen.rotation % 360, ())]


def _known_layout(piece: Segment) -> list[str]:
    return [FIRST_TWO] if piece.media.audio and piece.media.audio.channels > MOST_CHANNELS else []


def _stereo(*, limited: bool) -> list[str]:
    """Mixes any layout to stereo."""
    return [
        "aformat=sample_fmts=fltp:channel_layouts=stereo",
        *([LIMITER] if limited else []),
        "aformat=sample_fmts=s16",
    ]


def _scaled(piece: Segment) -> list[str]:
    """Filters that convert the source's colours to BT.709 with limited range, and scale to the size in the frame."""
    seen = piece.media.video
    # The shape of each frame, not of the first one: a receiver that goes from SD to HD changes it, and so does a
    # browser that records a window or a phone which is turned.
    shape = "if(between(sar,1/4,4),dar,a)"
    width = f"clip(2*round(min({piece.width},{piece.height}*{shape})/2),2,{piece.width})"
    height = f"clip(2*round(min({piece.height},{piece.width}/({shape}))/2),2,{piece.height})"
    source = f"scale='{width}':'{height}':eval=frame:in_color_matrix={seen.matrix}"
    source += f":in_range={'pc' if seen.full_range else 'tv'}"
    target = "out_color_matrix=bt709:out_range=tv"
    if piece.table is None:
        return [f"{source}:{target}", "format=yuv420p"]
    return [
        source,
        "format=gbrp16le",
        f"lut3d=file={_in_graph(piece.table)}",
        f"scale=iw:ih:eval=frame:{target}",
        "format=yuv420p",
    ]


def join(listing: Path, output: Path, *, tools: Tools) -> list[str]:
    """Join pieces of the same format. Video is copied; audio is encoded once over all pieces, without gaps."""
    return [
        *_start(tools),
        *("-f", "concat", "-safe", "0", "-protocol_whitelist", "file", "-i", _file(listing)),
        *("-map", "0:v:0", "-map", "0:a:0", "-c:v", "copy", "-c:a", "aac", "-b:a", "128k", "-threads", "1"),
        *("-movflags", "+faststart", _file(output)),
    ]


def join_listing(pieces: list[Path]) -> str:
    """The concat script for `join`. The names are temporary files of this process."""
    return "".join(f"file 'file:{piece}'\n" for piece in pieces)


def _start(tools: Tools) -> list[str]:
    return [
        tools.ffmpeg,
        *("-hide_banner", "-nostdin", "-y", "-v", "error", "-nostats", "-progress", "pipe:1", "-stats_period", "0.5"),
        # In a damaged stretch the last picture stays and the sound pauses, as in a player. Without this option, a clip
        # of which more than two thirds cannot be decoded ends with exit code 69 (ffmpeg.html, `-max_error_rate`).
        *("-max_error_rate", "1"),
        # Where a recording lacks more than 10 s, ffmpeg would move what follows to the place of what is missing.
        *("-dts_delta_threshold", "1000000"),
    ]


def _by_index(media: MediaInfo) -> list[str]:
    """ffmpeg counts the pictures of an AVI as it reads them: where some are lost, all that follow would be too early.
    With this option it takes places and times from the index (libavformat/avidec.c), which may be incomplete."""
    return ["-fflags", "+sortdts"] if media.torn else []


def _file(path: Path | None) -> str:
    # With an explicit protocol, no file name can be taken for an option or another protocol.
    return f"file:{path}"


def _in_graph(path: Path) -> str:
    """A path escaped as an option in a filter graph, which is unescaped twice (ffmpeg-filters, "Notes on filtergraph
    escaping")."""
    once = re.sub(r"([\\':])", r"\\\1", str(path))
    return re.sub(r"([\\'\[\],;])", r"\\\1", once)


def _timescale(rate: Fraction) -> int:
    return rate.numerator * (1 if rate.numerator >= 10_000 else 512)
