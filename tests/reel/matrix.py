"""The media matrix: videos of many kinds that ffmpeg makes, and what a clip of each must show.

Each source frame carries its own number as twelve black and white bars, a colour patch and a grey patch, so that a
clip is judged frame by frame: number of frames, which frames, shape, colours, sound.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.games.validation import inspect
from reel.errors import UnusableVideo
from reel.payloads import ExtractClip
from reel.render import extract_clip
from reel.tools import Tools

WIDTH, HEIGHT, BITS = 320, 180, 12
RATE, FRAMES = 25, 150
PATCH: Final = (190, 60, 50)
GREY: Final = (128, 128, 128)
# Spans that are cut from each source, in seconds: near the start, across the middle, up to the end.
SPANS: Final = ((0.0, 0.8), (2.52, 3.6), (4.8, 5.96))

SDR: Final = (
    *("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"),
    *("-pix_fmt", "yuv420p"),
)
X264: Final = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25")
TO_709: Final = "scale=out_color_matrix=bt709:out_range=tv"


@dataclass(frozen=True)
class Cell:
    """One kind of video. `video` and `audio` are ffmpeg's options; `shape` is the size of the clip in pixels."""

    name: str
    suffix: str
    video: Sequence[str] = (*X264, *SDR)
    audio: Sequence[str] = ("-c:a", "aac")
    filters: str = TO_709
    container: Sequence[str] = ()
    sound: str = "sine=frequency=440:sample_rate=48000"
    shape: tuple[int, int] = (WIDTH, HEIGHT)
    rotation: int = 0
    refused: str = ""
    """Part of the reason, where such a file must be refused."""
    frame_slack: int = 1
    colour_slack: int = 26
    copies: Sequence[Sequence[str]] = field(default=())
    """Further `-c copy` runs over the file: options before and after the input, split at "IN"."""
    append: bytes = b""


def make_frames(folder: Path) -> Path:
    """The raw RGB frames that every source is encoded from."""
    path = folder / "frames.rgb"
    if path.exists():
        return path
    bar = WIDTH // BITS
    middle = bytes(PATCH) * (WIDTH // 2) + bytes(GREY) * (WIDTH // 2)
    with path.open("wb") as file:
        for number in range(FRAMES):
            row = bytearray()
            for bit in range(BITS):
                row += (b"\xe6\xe6\xe6" if number >> bit & 1 else b"\x18\x18\x18") * bar
            row += b"\x18\x18\x18" * (WIDTH - bar * BITS)
            file.write(bytes(row) * (HEIGHT // 2) + middle * (HEIGHT // 2))
    return path


def make_source(cell: Cell, folder: Path, tools: Tools) -> Path:
    """The cell's file; raises CalledProcessError with ffmpeg's words where it cannot be made."""
    path = folder / f"{cell.name}.{cell.suffix}"
    frames = make_frames(folder)
    start = [tools.ffmpeg, "-hide_banner", "-nostdin", "-v", "error", "-y", "-threads", "1"]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE), "-i", str(frames)]
    sound = ["-f", "lavfi", "-t", str(FRAMES / RATE), "-i", cell.sound] if cell.audio else []
    command = [
        *(*start, *raw, *sound, "-vf", cell.filters, *cell.video, "-threads", "1", *cell.audio),
        *(*cell.container, str(path)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    for copy in cell.copies:
        before, after = list(copy[: copy.index("IN")]), list(copy[copy.index("IN") + 1 :])
        source = path.with_name(f"before-{path.name}")
        path.rename(source)
        subprocess.run(
            [*start, *before, "-i", str(source), "-map", "0", "-c", "copy", *after, str(path)],
            check=True,
            capture_output=True,
        )
        source.unlink()
    if cell.append:
        with path.open("ab") as file:
            file.write(cell.append)
    return path


class OneFile:
    """A store that holds one file under any key, and takes one result."""

    def __init__(self, path: Path, result: Path) -> None:
        self.path, self.result = path, result
        self.bytes_read = 0

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        self.bytes_read += len(data)
        return data

    async def download(self, key: str, path: Path) -> None:
        shutil.copyfile(self.path, path)

    async def upload(self, path: Path, key: str, content_type: str) -> None:
        shutil.copyfile(path, self.result)


def judge(cell: Cell, source: Path, tools: Tools) -> str:
    """ "right", "refused: why", or what is wrong."""
    return asyncio.run(_judge(cell, source, tools))


async def _judge(cell: Cell, source: Path, tools: Tools) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = OneFile(source, folder / "clip.mp4")
        try:
            media = await inspect(store, "k", source.stat().st_size, folder / "inspect")  # type: ignore[arg-type]
        except UnusableVideo as error:
            return f"refused: {error}"
        wanted = FRAMES / RATE
        if abs(media.duration_s - wanted) > 2.5 / RATE:
            return f"wrong: the length is told as {media.duration_s:.3f} s, it is {wanted:.3f} s"
        for start_s, end_s in SPANS:
            job = ExtractClip("a/games/g/source", "a/clip.mp4", start_s, end_s)
            work = folder / f"work-{start_s}"
            work.mkdir()
            await extract_clip(job, store, work, tools=tools, deadline_s=120)
            found = _look(cell, store.result, start_s, end_s, tools)
            if found:
                return f"wrong: {start_s}–{end_s} s: {found}"
    return "right"


def _look(cell: Cell, clip: Path, start_s: float, end_s: float, tools: Tools) -> str:
    size = _output(
        tools.ffprobe, "-select_streams", "v", "-show_entries", "stream=width,height", "-of", "csv=p=0", clip
    )
    if tuple(int(part) for part in size.decode().strip().split(",")) != cell.shape:
        return f"the clip is {size.decode().strip()}, expected {cell.shape}"
    undo = {0: "", 90: "transpose=1,", 180: "hflip,vflip,", 270: "transpose=2,"}[cell.rotation]
    view = f"{undo}scale={WIDTH}:{HEIGHT}:in_color_matrix=bt709:in_range=tv"
    raw = _output(tools.ffmpeg, "-i", clip, "-vf", view, "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    length = WIDTH * HEIGHT * 3
    shown = [_number(raw[at : at + length]) for at in range(0, len(raw), length)]
    count = round((end_s - start_s) * RATE)
    rate = len(shown) / (end_s - start_s)
    if abs(rate - RATE) < 1 and abs(len(shown) - count) > 1:
        return f"{len(shown)} frames, expected {count}"
    for place, number in enumerate(shown):
        expected = int((start_s + place / (rate if abs(rate - RATE) > 1 else RATE)) * RATE + 0.01)
        if abs(number - min(expected, FRAMES - 1)) > cell.frame_slack:
            return f"frame {place} shows {number}, expected {expected}; all: {shown}"
    for wanted, x in ((PATCH, WIDTH // 4), (GREY, 3 * WIDTH // 4)):
        at = (len(shown) // 2) * length + (HEIGHT * 3 // 4 * WIDTH + x) * 3
        pixel = tuple(raw[at : at + 3])
        if any(abs(one - other) > cell.colour_slack for one, other in zip(pixel, wanted, strict=True)):
            return f"the colour {wanted} came out as {pixel}"
    return _listen(cell, clip, end_s - start_s, tools)


def _listen(cell: Cell, clip: Path, duration_s: float, tools: Tools) -> str:
    pcm = _output(tools.ffmpeg, "-i", clip, "-f", "s16le", "-ac", "2", "-ar", "8000", "-")
    samples = memoryview(pcm).cast("h")
    if abs(len(samples) / 2 / 8000 - duration_s) > 0.1:
        return f"{len(samples) / 2 / 8000:.2f} s of sound for {duration_s:.2f} s of picture"
    for side in (0, 1):
        loud = sum(abs(samples[at]) for at in range(side, len(samples), 2)) / max(1, len(samples) // 2)
        if cell.audio and loud < 200:
            return f"channel {side} is silent ({loud:.0f})"
        if not cell.audio and loud > 20:
            return f"sound ({loud:.0f}) where the source has none"
    return ""


def _number(frame: bytes) -> int:
    bar, row = WIDTH // BITS, HEIGHT // 4 * WIDTH
    values = [frame[(row + bit * bar + bar // 2) * 3 + 1] for bit in range(BITS)]
    return sum(1 << bit for bit, value in enumerate(values) if value > 128)


def _output(program: str, *arguments: object) -> bytes:
    command = [program, "-v", "error", *(str(argument) for argument in arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


X265: Final = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1", "-tag:v", "hvc1")
VP9: Final = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", *SDR)
OPUS: Final = ("-c:a", "libopus")
FRAGMENTED: Final = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")


def _hdr(transfer: str, tag: str) -> dict[str, object]:
    to = f"zscale=pin=bt709:tin=bt709:min=gbr:rin=full:p=bt2020:t={transfer}:m=bt2020nc:r=limited:npl=203"
    tags = ("-color_primaries", "bt2020", "-color_trc", tag, "-colorspace", "bt2020nc", "-color_range", "tv")
    return {
        "video": (*X265, "-pix_fmt", "yuv420p10le", *tags),
        "filters": f"format=gbrp,{to},format=yuv420p10le",
        "colour_slack": 45,
    }


CELLS: Final = (
    # Containers.
    Cell("mp4", "mp4"),
    Cell("mp4-faststart", "mp4", container=("-movflags", "+faststart")),
    Cell("mp4-fragmented", "mp4", container=FRAGMENTED, frame_slack=2),
    Cell("mp4-fragmented-mfra", "mp4", container=("-movflags", "frag_keyframe+empty_moov"), frame_slack=2),
    Cell("mp4-fragmented-sidx", "mp4", container=("-movflags", "+dash", "-f", "mp4"), frame_slack=2),
    Cell("mov-pcm-be", "mov", audio=("-c:a", "pcm_s16be")),
    Cell("mov-pcm-le24", "mov", audio=("-c:a", "pcm_s24le")),
    Cell("mov-alac", "mov", audio=("-c:a", "alac")),
    Cell("mkv", "mkv"),
    Cell("webm-vp9", "webm", video=VP9, audio=OPUS),
    Cell("webm-without-duration", "webm", video=VP9, audio=OPUS, container=("-live", "1", "-f", "webm")),
    Cell("mkv-without-duration", "mkv", container=("-live", "1")),
    Cell(
        "webm-vp8-vorbis",
        "webm",
        video=("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", *SDR),
        audio=("-c:a", "libvorbis"),
    ),
    Cell("ts", "ts"),
    Cell("ts-late-clock", "ts", container=("-output_ts_offset", "95440")),
    Cell(
        "ts-long-gop", "ts", video=("-c:v", "libx264", "-preset", "ultrafast", "-g", "1000", "-sc_threshold", "0", *SDR)
    ),
    Cell(
        "ts-mpeg2",
        "ts",
        video=("-c:v", "mpeg2video", "-q:v", "3", "-bf", "2", *SDR),
        audio=("-c:a", "mp2"),
        frame_slack=1,
    ),
    Cell("m2ts-ac3", "m2ts", audio=("-c:a", "ac3"), container=("-mpegts_m2ts_mode", "1", "-f", "mpegts")),
    Cell(
        "avi-mpeg4-mp3",
        "avi",
        video=("-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p"),
        audio=("-c:a", "libmp3lame"),
        filters="scale=out_color_matrix=bt601:out_range=tv",
    ),
    Cell(
        "avi-mjpeg-pcm",
        "avi",
        video=("-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"),
        audio=("-c:a", "pcm_s16le"),
        filters="scale=out_color_matrix=bt601:out_range=pc",
    ),
    Cell("flv", "flv"),
    Cell(
        "3gp-mpeg4",
        "3gp",
        video=("-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p"),
        filters="scale=out_color_matrix=bt601:out_range=tv",
    ),
    # Codecs.
    Cell("hevc", "mp4", video=(*X265, *SDR)),
    Cell("hevc10", "mp4", video=(*X265, "-pix_fmt", "yuv420p10le", "-colorspace", "bt709", "-color_range", "tv")),
    Cell("av1", "mp4", video=("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", *SDR)),
    Cell(
        "prores",
        "mov",
        video=("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le", "-colorspace", "bt709", "-color_range", "tv"),
        audio=("-c:a", "pcm_s16le"),
    ),
    Cell(
        "h264-444-odd",
        "mkv",
        video=(
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv444p",
            "-colorspace",
            "bt709",
            "-color_range",
            "tv",
        ),
        filters=f"pad=321:181:0:0,{TO_709}",
        shape=(320, 180),
    ),
    # Time.
    Cell(
        "variable-rate",
        "mp4",
        filters=f"select='not(between(n,40,60))+gt(n,150)',{TO_709}",
        container=("-fps_mode", "vfr"),
        frame_slack=22,
    ),
    Cell(
        "long-gop", "mp4", video=("-c:v", "libx264", "-preset", "ultrafast", "-g", "1000", "-sc_threshold", "0", *SDR)
    ),
    # Shape.
    Cell("anamorphic", "mp4", filters=f"{TO_709},setsar=4/3", shape=(428, 180)),
    Cell("anamorphic-narrow", "mkv", filters=f"{TO_709},setsar=8/9", shape=(284, 180)),
    Cell("rotated-90", "mp4", copies=(("-display_rotation", "90", "IN"),), rotation=90, shape=(180, 320)),
    Cell("rotated-180", "mp4", copies=(("-display_rotation", "180", "IN"),), rotation=180),
    Cell("rotated-270", "mov", copies=(("-display_rotation", "270", "IN"),), rotation=270, shape=(180, 320)),
    # Look.
    Cell(
        "full-range",
        "mp4",
        video=(*X264, "-pix_fmt", "yuvj420p", "-colorspace", "bt709", "-color_range", "pc"),
        filters="scale=out_color_matrix=bt709:out_range=pc",
    ),
    Cell(
        "bt601-tagged",
        "mp4",
        video=(*X264, "-pix_fmt", "yuv420p", "-colorspace", "smpte170m", "-color_range", "tv"),
        filters="scale=out_color_matrix=bt601:out_range=tv",
    ),
    Cell(
        "bt601-untagged",
        "mkv",
        video=(*X264, "-pix_fmt", "yuv420p"),
        filters="scale=out_color_matrix=bt601:out_range=tv",
    ),
    Cell("hlg", "mp4", **_hdr("arib-std-b67", "arib-std-b67")),  # type: ignore[arg-type]
    Cell("pq", "mp4", **_hdr("smpte2084", "smpte2084")),  # type: ignore[arg-type]
    Cell("interlaced-h264", "mp4", video=(*X264, "-flags", "+ilme+ildct", "-x264-params", "tff=1", *SDR)),
    Cell(
        "interlaced-dv",
        "avi",
        video=("-c:v", "dvvideo", "-pix_fmt", "yuv420p"),
        audio=("-c:a", "pcm_s16le"),
        filters="scale=720:576:out_color_matrix=bt601:out_range=tv,setsar=16/15,setfield=bff",
        shape=(768, 576),
    ),
    # Sound.
    Cell("no-sound", "mp4", audio=()),
    Cell("mono-8k", "mp4", audio=("-c:a", "aac", "-ac", "1", "-ar", "8000")),
    Cell(
        "surround-centre",
        "mkv",
        audio=("-c:a", "ac3", "-ac", "6"),
        sound="sine=frequency=440:sample_rate=48000,pan=5.1|FC=0.8*c0",
    ),
    Cell("eac3", "mp4", audio=("-c:a", "eac3", "-ac", "6")),
    Cell("mp4-mp3", "mp4", audio=("-c:a", "libmp3lame")),
    Cell("mkv-flac", "mkv", audio=("-c:a", "flac")),
    Cell("mkv-opus-surround", "mkv", audio=("-c:a", "libopus", "-ac", "6")),
    Cell(
        "3gp-amr",
        "3gp",
        video=("-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p"),
        audio=("-c:a", "libopencore_amrnb", "-ac", "1", "-ar", "8000"),
        filters="scale=out_color_matrix=bt601:out_range=tv",
    ),
    # Bytes after the end.
    Cell("trailing-bytes", "mp4", append=b"abcd"),
    Cell("trailing-zeros", "mp4", append=bytes(65536)),
    Cell("trailing-rubbish", "mp4", append=bytes(range(1, 256)) * 300),
)
