"""The media matrix: how a video of a kind is made with ffmpeg, and how a clip of it is judged frame by frame.

Each source frame carries its own number as twelve black and white bars, a colour patch and a grey patch; the sound
becomes louder after half of the time. So a clip shows which frames it has, in which shape and colours, and whether its
sound belongs to them. The kinds are in `cells`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
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
# Spans that are cut from each source of six seconds: near the start, across the middle, up to the end.
SPANS: Final = ((0.0, 0.8), (2.52, 3.6), (4.8, 5.96))
# Louder from the middle on, in steps of 10 ms.
TONE: Final = "sine=frequency=440:sample_rate=48000,asetnsamples=480,volume='if(lt(t,{middle}),0.2,1)':eval=frame"
# The peak of the sine, an eighth of the full scale. ffmpeg makes stereo and surround from it with 0.7 of it.
LOUDEST: Final = 4096
# AAC and MP3 begin with silence that some containers do not tell of (up to 53 ms).
SOUND_SLACK_S: Final = 0.09

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
    sound: str = TONE
    shape: tuple[int, int] = (WIDTH, HEIGHT)
    rotation: int = 0
    mirrored: bool = False
    refused: str = ""
    """Part of the reason, where such a file must be refused."""
    rate: Fraction = Fraction(RATE)
    """Frames per second of the source; it has FRAMES of them."""
    shown_rate: Fraction | None = None
    """Frames per second of a clip, where it is another."""
    dropped: range = range(0)
    """Frames that the source lacks: the one before is on in their place."""
    first: int = 0
    """The frame that a player shows first."""
    late_s: float = 0.0
    """How long the sound is there before the picture."""
    sound_late_s: float = 0.0
    """How long the picture is there before the sound."""
    length_s: float | None = None
    fields: bool = False
    """Each frame consists of two fields of their own time: every second number is seen, at half of `rate`."""
    frame_slack: int = 1
    colour_slack: int = 26
    sound_slack_s: float = SOUND_SLACK_S
    loudness: float = 1.0
    """How loud the source's own sound is: some encoders lose a part, and so does ffmpeg where it mixes down for one of
    whole numbers."""
    inputs: Sequence[str] = ()
    """Further inputs of the command, and what is mapped."""
    copies: Sequence[Sequence[str]] = field(default=())
    """Further `-c copy` runs over the file: options before and after the input, split at "IN"."""
    changes: Sequence[tuple[int, Sequence[str]]] = ()
    """From these frames on, the sound is encoded with other options: each part is made on its own, and they are joined
    byte by byte, as a receiver writes them."""
    rewritten: Callable[[bytes], bytes] | None = None
    """Makes the file from what ffmpeg wrote (`written`)."""
    append: bytes = b""
    prepend: bytes = b""
    keep: float = 1.0
    """Share of the bytes that are left of the file; its length is then what a decoder finds in it."""
    blank: bool = False
    """The frames carry no numbers: only length and shape are judged."""

    @property
    def made_s(self) -> float:
        """Length of the frames that the source is made of."""
        return float(FRAMES / self.rate)


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
    if cell.changes:
        return _make_of_parts(cell, folder, tools)
    path = folder / f"{cell.name}.{cell.suffix}"
    frames = make_frames(folder)
    start = [tools.ffmpeg, "-hide_banner", "-nostdin", "-v", "error", "-y", "-threads", "1"]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-framerate", str(cell.rate)]
    late = ["-itsoffset", str(cell.late_s)] if cell.late_s else []
    tone = cell.sound.format(middle=cell.made_s / 2)
    quiet = ["-itsoffset", str(cell.sound_late_s)] if cell.sound_late_s else []
    sound = [*quiet, "-f", "lavfi", "-t", str(cell.made_s - cell.sound_late_s), "-i", tone] if cell.audio else []
    command = [
        *(*start, *late, *raw, "-i", str(frames), *sound, *cell.inputs, "-vf", cell.filters),
        *(*cell.video, "-threads", "1", *cell.audio, *cell.container, str(path)),
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
    if cell.rewritten:
        path.write_bytes(cell.rewritten(path.read_bytes()))
    if cell.keep < 1 or cell.append or cell.prepend:
        data = path.read_bytes()
        path.write_bytes(cell.prepend + data[: int(len(data) * cell.keep)] + cell.append)
    return path


def _make_of_parts(cell: Cell, folder: Path, tools: Tools) -> Path:
    path, tone = folder / f"{cell.name}.{cell.suffix}", folder / "tone.wav"
    start = [tools.ffmpeg, "-hide_banner", "-nostdin", "-v", "error", "-y", "-threads", "1"]
    source = ["-f", "lavfi", "-t", str(cell.made_s), "-i", cell.sound.format(middle=cell.made_s / 2)]
    # In front alone: mixed down to fewer channels it is as loud as before.
    front = "pan=5.1|FL=c0|FR=c0|FC=0*c0|LFE=0*c0|BL=0*c0|BR=0*c0"
    subprocess.run([*start, *source, "-af", front, str(tone)], check=True, capture_output=True)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-framerate", str(cell.rate)]
    parts = [(0, cell.audio), *cell.changes, (FRAMES, ())]
    joined = b""
    for number, ((first, audio), (behind, _)) in enumerate(itertools.pairwise(parts)):
        # A second later, so that none begins before zero, which ffmpeg would shift.
        part, begins_s = folder / f"part-{number}.ts", first / cell.rate
        cut = f"atrim={float(begins_s)}:{float(behind / cell.rate)},asetpts=PTS-STARTPTS"
        command = [
            *(*start, *raw, "-i", str(make_frames(folder)), "-i", str(tone)),
            *("-vf", f"trim=start_frame={first}:end_frame={behind},setpts=PTS-STARTPTS,{cell.filters}", "-af", cut),
            *(*cell.video, "-threads", "1", *audio, "-output_ts_offset", str(float(begins_s) + 1), str(part)),
        ]
        subprocess.run(command, check=True, capture_output=True)
        joined += part.read_bytes()
    whole = folder / "joined.ts"
    whole.write_bytes(joined)
    if cell.suffix == "ts":
        return whole.rename(path)
    # GCONV_PATH: as in reel.run.
    environment = {**os.environ, "GCONV_PATH": "/nonexistent"}
    copy = [*start, "-i", str(whole), "-c", "copy", str(path)]
    subprocess.run(copy, check=True, capture_output=True, env=environment)
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
            read = partial(store.get_range, "k")
            media = await inspect(read, source.stat().st_size, folder / "inspect", at_most=math.inf)
        except UnusableVideo as error:
            return f"refused: {error}"
        assert media is not None
        wanted = cell.made_s + cell.late_s if cell.length_s is None else cell.length_s
        if cell.keep < 1 and cell.length_s is None:
            wanted = await asyncio.to_thread(_decoded_s, cell, source, tools)
        if abs(media.duration_s - wanted) > (2.5 if cell.keep == 1 else 5.5) / cell.rate:
            return f"wrong: the length is told as {media.duration_s:.3f} s, it is {wanted:.3f} s"
        for number, span in enumerate(SPANS):
            # In a shorter source, at the same places; at whole frames.
            start_s, end_s = (at if wanted > 5.9 else at_frame(at * wanted / 6, cell.rate) for at in span)
            end_s = max(end_s, start_s + 0.12)
            job = ExtractClip("a/games/g/source", "a/clip.mp4", start_s, end_s)
            work = folder / f"work-{number}"
            work.mkdir()
            await extract_clip(job, store, work, tools=tools, deadline_s=600)
            found = look(cell, store.result, start_s, end_s, tools)
            if found:
                return f"wrong: {start_s:.3f}–{end_s:.3f} s: {found}"
    return "right"


def at_frame(at_s: float, rate: Fraction) -> float:
    """The time of the nearest frame."""
    return float(round(Fraction(at_s) * rate) / rate)


def _decoded_s(cell: Cell, source: Path, tools: Tools) -> float:
    """How long the picture of a file is that was cut off, by decoding it."""
    command = [tools.ffmpeg, "-v", "quiet", "-i", str(source), "-map", "0:v:0", "-vf", "scale=2:2", "-pix_fmt", "gray"]
    # GCONV_PATH: as in reel.run.
    environment = {**os.environ, "GCONV_PATH": "/nonexistent"}
    command += ["-f", "rawvideo", "-"]
    shown = subprocess.run(command, check=False, capture_output=True, env=environment).stdout
    return len(shown) / 4 / float(cell.rate)


def look(cell: Cell, clip: Path, start_s: float, end_s: float, tools: Tools) -> str:
    """What is wrong with a clip of the cell's source; empty where nothing is."""
    size = _output(
        tools.ffprobe, "-select_streams", "v", "-show_entries", "stream=width,height", "-of", "csv=p=0", clip
    )
    if tuple(int(part) for part in size.decode().strip().split(",")) != cell.shape:
        return f"the clip is {size.decode().strip()}, expected {cell.shape}"
    undo = {0: "", 90: "transpose=1,", 180: "hflip,vflip,", 270: "transpose=2,"}[cell.rotation]
    undo += "hflip," if cell.mirrored else ""
    view = f"{undo}scale={WIDTH}:{HEIGHT}:in_color_matrix=bt709:in_range=tv"
    raw = _output(tools.ffmpeg, "-i", clip, "-vf", view, "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    length = WIDTH * HEIGHT * 3
    frames = [raw[at : at + length] for at in range(0, len(raw), length)]
    usual = float(cell.shown_rate or cell.rate / (2 if cell.fields else 1))
    count = round((end_s - start_s) * usual)
    if abs(len(frames) - count) > 1:
        return f"{len(frames)} frames, expected {count}"
    if not cell.blank:
        found = _numbers(cell, frames, start_s, usual) or _colours(cell, frames[len(frames) // 2])
        if found:
            return found
    return _listen(cell, clip, start_s, end_s, tools)


def _numbers(cell: Cell, frames: list[bytes], start_s: float, rate: float) -> str:
    shown = [_number(frame) for frame in frames]
    for place, number in enumerate(shown):
        at_s = max(0.0, start_s + place / rate - cell.late_s)
        expected = cell.first + int(at_s * cell.rate + 0.01)
        if expected in cell.dropped:
            expected = cell.dropped.start - 1
        if abs(number - min(expected, FRAMES - 1)) > cell.frame_slack + 2 * cell.fields:
            return f"frame {place} shows {number}, expected {expected}; all: {shown}"
    combed = [place for place, frame in enumerate(frames) if _is_combed(frame)]
    return f"the fields of {len(combed)} frames are woven" if combed else ""


def _colours(cell: Cell, frame: bytes) -> str:
    for wanted, x in ((PATCH, WIDTH // 4), (GREY, 3 * WIDTH // 4)):
        at = (HEIGHT * 3 // 4 * WIDTH + x) * 3
        pixel = tuple(frame[at : at + 3])
        if any(abs(one - other) > cell.colour_slack for one, other in zip(pixel, wanted, strict=True)):
            return f"the colour {wanted} came out as {pixel}"
    return ""


def _listen(cell: Cell, clip: Path, start_s: float, end_s: float, tools: Tools) -> str:
    duration_s = end_s - start_s
    pcm = _output(tools.ffmpeg, "-i", clip, "-f", "s16le", "-ac", "2", "-ar", "8000", "-")
    samples = memoryview(pcm).cast("h")
    if abs(len(samples) / 2 / 8000 - duration_s) > 0.1:
        return f"{len(samples) / 2 / 8000:.2f} s of sound for {duration_s:.2f} s of picture"
    for side in (0, 1):
        loud = sum(abs(samples[at]) for at in range(side, len(samples), 2)) / max(1, len(samples) // 2)
        if cell.audio and loud < 60:
            return f"channel {side} is silent ({loud:.0f})"
        if not cell.audio and loud > 20:
            return f"sound ({loud:.0f}) where the source has none"
    blocks = sorted(_blocks(samples))
    loudest = blocks[len(blocks) // 2]
    if (
        cell.audio
        and cell.sound == TONE
        and start_s > cell.made_s / 2 + 1
        and not 0.6 < loudest / (LOUDEST * cell.loudness) < 1.3
    ):
        return f"the sound has a peak of {loudest}, expected about {LOUDEST} (from mono), or 0.7 of it (from stereo)"
    middle_s = cell.made_s / 2 + cell.sound_late_s - cell.first / float(cell.rate) - start_s
    if cell.audio and cell.sound == TONE and 0.1 < middle_s < duration_s - 0.1:
        found_s = _louder_at(samples)
        if abs(found_s - middle_s) > cell.sound_slack_s:
            return f"the sound becomes louder at {found_s:.3f} s, expected {middle_s:.3f} s"
    return ""


def _louder_at(samples: memoryview) -> float:
    """When the sound becomes louder, in seconds: the first 10 ms that have more than a third of the greatest
    loudness."""
    blocks = _blocks(samples)
    return next(number for number, value in enumerate(blocks) if value > max(blocks) / 3) / 100


def _blocks(samples: memoryview) -> list[int]:
    """The peaks of each 10 ms of two channels at 8 kHz."""
    step = 160
    return [max(abs(value) for value in samples[at : at + step]) for at in range(0, len(samples) - step, step)]


def _number(frame: bytes) -> int:
    bar, row = WIDTH // BITS, HEIGHT // 4 * WIDTH
    values = [frame[(row + bit * bar + bar // 2) * 3 + 1] for bit in range(BITS)]
    return sum(1 << bit for bit, value in enumerate(values) if value > 128)


def _is_combed(frame: bytes) -> bool:
    """Whether neighbouring rows of the second bar differ as the fields of two times do. (The first one shows the same
    in every field of a kind: woven or not, it has stripes.)"""
    column = [frame[(row * WIDTH + WIDTH // BITS * 3 // 2) * 3 + 1] for row in range(HEIGHT // 8, HEIGHT * 3 // 8)]
    steps = sorted(abs(one - other) for one, other in itertools.pairwise(column))
    return steps[len(steps) // 2] > 60


def _output(program: str, *arguments: object) -> bytes:
    command = [program, "-v", "error", *(str(argument) for argument in arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout
