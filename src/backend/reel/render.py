"""Renders reels and extracts clips, on a Machine or in a GPU function: download, cut, join, verify, upload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final, Protocol, TypedDict

from reel import avi, ffmpeg, programs
from reel.clusters import is_blank
from reel.colour import Source, write_table
from reel.errors import BadResult, FfmpegFailed, UnusableVideo
from reel.ffmpeg import Segment
from reel.media import MediaInfo, VideoStream
from reel.overlay import draw_overlay
from reel.payloads import (
    FRAME_SIZES,
    ExtractClip,
    ExtractClipResult,
    Quality,
    RenderReel,
    RenderReelResult,
)
from reel.plan import clip_rate, clip_size, frames_in, part_name, piece_file, reel_pieces, split_frames
from reel.probe import probe
from reel.run import OnTime, run_ffmpeg
from reel.seek import seek_point
from reel.tools import Tools

CONTENT_TYPE: Final = "video/mp4"
# Shares of the progress bar: fetching sources, encoding pieces, joining, storing.
_FETCHED, _ENCODED, _JOINED = 0.15, 0.9, 0.95

# A piece that took less time is not stored, because uploading and downloading it would take as long as encoding it.
KEEP_SECONDS: Final = 4.0
# A piece that continues a clip is read from this long before its start, because the first sound behind a seek is not
# complete: AAC overlaps two blocks, and MP3 uses bits of earlier ones. Without this, a piece that begins at a key frame
# begins with a click (AAC of 44.1 kHz: 20 ms of sound that fades in, measured 2026-11-28 with ffmpeg 6.0).
PRE_ROLL_SECONDS: Final = 0.2

Report = Callable[[float, str], Awaitable[None]]
Turn = Callable[[], AbstractAsyncContextManager[object]]


class MediaStore(Protocol):
    """The operations on the bucket that rendering needs. Keys are full object keys."""

    async def download(self, key: str, path: Path) -> object:
        """Streams an object into a file."""
        ...

    async def upload(self, path: Path, key: str, content_type: str) -> object:
        """Streams a file into an object; raises when it was not stored."""
        ...


class PieceStore(Protocol):
    """Encoded pieces of one reel, for a later process that goes on with it. Failing is no harm: both are asked only to
    save work."""

    async def fetch(self, name: str, path: Path) -> bool:
        """Whether the piece was there; then it is the file."""
        ...

    async def keep(self, path: Path, name: str) -> None:
        """Stores a piece."""
        ...


async def silent(progress: float, phase: str) -> None:
    """A Report for callers without one."""


async def render_reel(
    job: RenderReel,
    store: MediaStore,
    workdir: Path,
    *,
    tools: Tools,
    deadline_s: float,
    report: Report = silent,
    kept: PieceStore | None = None,
) -> RenderReelResult:
    """Make the reel and store it under `output_key`. Raises ReelError, or what `store` raises.

    `workdir` is the caller's to make and remove; `deadline_s` holds for each run of ffmpeg. A source is on the disk
    only while clips of it are encoded. With `kept` long clips are made in pieces; those that took long are stored
    there, and those that are there already are not encoded again.
    """
    pieces = reel_pieces(job, workdir, long=kept is None)
    there = [piece for piece in pieces if kept is not None and await kept.fetch(piece.name, piece.path)]
    missing = [piece for piece in pieces if piece not in there]
    overlay = None
    if not is_blank(job.options.overlay_text):
        overlay = draw_overlay(job.options.overlay_text, job.options.frame_size, workdir / "overlay.png")
    frames = sum(piece.frames for piece in there)
    keys = list(dict.fromkeys(piece.clip.source_key for piece in missing))
    for number, key in enumerate(keys):
        fetching = _scaled(report, "download", job.duration_s, frames / ffmpeg.REEL_RATE, _FETCHED * number / len(keys))
        await fetching(0.0)
        source = workdir / "source"
        await store.download(key, source)
        media = await _opened(source, tools)
        for piece in [piece for piece in missing if piece.clip.source_key == key]:
            clip = piece.clip
            _inside(media, clip.start_s, clip.end_s, key)
            part = await _piece(
                source,
                media,
                piece.begin_s,
                piece.begin_s + piece.frames / ffmpeg.REEL_RATE,
                Fraction(ffmpeg.REEL_RATE),
                job.options.frame_size,
                job.options.quality,
                workdir,
                tools,
                deadline_s,
                continues=not piece.first,
            )
            if job.options.transition == "fade":
                part = replace(part, fade_in=piece.first, fade_out=piece.last)
            if overlay:
                part = replace(part, overlay=overlay.path, overlay_x=overlay.x, overlay_y=overlay.y)
            fetched_share = _FETCHED * (number + 1) / len(keys)
            on_time = _scaled(report, "encode", job.duration_s, frames / ffmpeg.REEL_RATE, fetched_share)
            began = time.monotonic()
            await _encode(part, piece.path, tools=tools, deadline_s=deadline_s, on_time=on_time)
            frames += piece.frames
            if kept is not None and len(pieces) > 1 and time.monotonic() - began >= KEEP_SECONDS:
                await kept.keep(piece.path, piece.name)
        source.unlink()
    await report(_ENCODED, "join")
    result = workdir / "reel.mp4"
    await _join([piece.path for piece in pieces], result, workdir, tools, deadline_s)
    made = await verify(result, job.options.frame_size, frames / ffmpeg.REEL_RATE, tools=tools)
    await report(_JOINED, "upload")
    await store.upload(result, job.output_key, CONTENT_TYPE)
    return RenderReelResult(export_id=job.export_id, output_key=job.output_key, **_facts(made))


async def extract_clip(
    job: ExtractClip,
    store: MediaStore,
    workdir: Path,
    *,
    tools: Tools,
    deadline_s: float,
    report: Report = silent,
    kept: PieceStore | None = None,
    turn: Turn = nullcontext,
) -> ExtractClipResult:
    """Cut one clip, at the source's own shape, and store it under `output_key`. Raises as `render_reel` does.

    With `kept` a long clip is made in pieces, and those that are there already are not encoded again. Each run of
    ffmpeg waits for its `turn`: between two pieces, something more urgent can be done.
    """
    await report(0.0, "download")
    source = workdir / "source"
    await store.download(job.source_key, source)
    media = await _opened(source, tools)
    _inside(media, job.start_s, job.end_s, job.source_key)
    cut = _Cut(job, source, media, workdir, tools, deadline_s, report, turn)
    result = workdir / "clip.mp4"
    counts = split_frames(cut.frames, cut.rate)
    if kept is None or len(counts) == 1:
        await cut.encode(0, cut.frames, result)
    else:
        pieces = await _cut_pieces(cut, counts, kept)
        await report(_ENCODED, "join")
        async with turn():
            await _join(pieces, result, workdir, tools, deadline_s)
    made = await verify(result, cut.size, float(cut.frames / cut.rate), tools=tools)
    await report(_JOINED, "upload")
    await store.upload(result, job.output_key, CONTENT_TYPE)
    return ExtractClipResult(output_key=job.output_key, **_facts(made))


@dataclass(frozen=True)
class _Cut:
    """One clip of a source that is at hand: its shape, and how a part of it is encoded."""

    job: ExtractClip
    source: Path
    media: MediaInfo
    workdir: Path
    tools: Tools
    deadline_s: float
    report: Report
    turn: Turn

    @property
    def size(self) -> tuple[int, int]:
        return clip_size(self.media, *FRAME_SIZES["16:9", self.job.quality])

    @property
    def rate(self) -> Fraction:
        return clip_rate(self.media)

    @property
    def frames(self) -> int:
        return frames_in(self.job.end_s - self.job.start_s, self.rate)

    async def encode(self, done: int, count: int, output: Path) -> float:
        """Encode `count` frames behind the first `done`, when it is this work's turn; how many seconds it took."""
        job, rate = self.job, self.rate
        begin_s = job.start_s + float(done / rate)
        async with self.turn():
            piece = await _piece(
                self.source,
                self.media,
                begin_s,
                begin_s + float(count / rate),
                rate,
                self.size,
                job.quality,
                self.workdir,
                self.tools,
                self.deadline_s,
                continues=done > 0,
            )
            piece = replace(piece, frames=count, max_bytes=job.max_bytes * count // self.frames)
            began = time.monotonic()
            on_time = _scaled(self.report, "encode", float(self.frames / rate), float(done / rate))
            await _encode(piece, output, tools=self.tools, deadline_s=self.deadline_s, on_time=on_time)
            return time.monotonic() - began


async def _cut_pieces(cut: _Cut, counts: list[int], kept: PieceStore) -> list[Path]:
    """The pieces of a long clip, in order. Those that are in `kept` are not encoded again."""
    pieces: list[Path] = []
    for number, count in enumerate(counts):
        output = piece_file(cut.workdir, number)
        name = f"{part_name(cut.job, cut.size)}-{number:04d}.mov"
        if not await kept.fetch(name, output) and await cut.encode(sum(counts[:number]), count, output) >= KEEP_SECONDS:
            await kept.keep(output, name)
        pieces.append(output)
    return pieces


async def _join(pieces: list[Path], output: Path, workdir: Path, tools: Tools, deadline_s: float) -> None:
    listing = workdir / "pieces.txt"
    listing.write_text(ffmpeg.join_listing(pieces))
    await run_ffmpeg(ffmpeg.join(listing, output, tools=tools), deadline_s=deadline_s)


async def _encode(piece: Segment, output: Path, *, tools: Tools, deadline_s: float, on_time: OnTime) -> None:
    """Cut and encode one piece. If no picture from its start to the end of the file can be decoded, it shows the last
    one before, as a player does. Raises UnusableVideo where there is none within HOLD_SECONDS."""
    why = ""
    for seek_s in (piece.seek_s, max(0.0, piece.start_s - ffmpeg.HOLD_SECONDS)):
        try:
            attempt = replace(piece, seek_s=seek_s)
            if await _encode_from(attempt, output, tools=tools, deadline_s=deadline_s, on_time=on_time):
                return
        except FfmpegFailed as error:
            if error.frames != 0 or error.returncode < 0:
                raise
            why = f" ({error.tail})"
    end_s = piece.start_s + piece.duration_s
    raise UnusableVideo(f"The video is damaged: no picture can be decoded from {piece.start_s:g} s to {end_s:g} s{why}")


async def _encode_from(piece: Segment, output: Path, *, tools: Tools, deadline_s: float, on_time: OnTime) -> int:
    """The number of frames written. Sound that changes its form within the piece is brought into one form first."""
    try:
        return await run_ffmpeg(ffmpeg.segment(piece, output, tools=tools), deadline_s=deadline_s, on_time=on_time)
    except FfmpegFailed as error:
        if ffmpeg.SOUND_CHANGES not in error.tail:
            raise
    sound = output.with_suffix(".sound.mkv")
    await run_ffmpeg(ffmpeg.sound_of(piece, sound, tools=tools), deadline_s=deadline_s)
    piece = replace(piece, sound=sound)
    frames = await run_ffmpeg(ffmpeg.segment(piece, output, tools=tools), deadline_s=deadline_s, on_time=on_time)
    sound.unlink()
    return frames


async def _piece(
    source: Path,
    media: MediaInfo,
    start_s: float,
    end_s: float,
    rate: Fraction,
    size: tuple[int, int],
    quality: Quality,
    workdir: Path,
    tools: Tools,
    deadline_s: float,
    *,
    continues: bool,
) -> Segment:
    in_file_s = media.video.zero_s + start_s
    readable_s = in_file_s - (PRE_ROLL_SECONDS if continues else 0.0)
    return Segment(
        source=source,
        media=media,
        start_s=in_file_s,
        frames=frames_in(end_s - start_s, rate),
        rate=rate,
        width=size[0],
        height=size[1],
        quality=quality,
        seek_s=await seek_point(source, media, readable_s, tools=tools, deadline_s=deadline_s),
        table=await asyncio.to_thread(_table, media.video, workdir),
    )


def _table(seen: VideoStream, workdir: Path) -> Path | None:
    """The lookup table that makes this picture SDR, None for one that is."""
    kind: Source | None = seen.transfer if seen.transfer != "sdr" else "bt2020" if seen.wide_gamut else None
    if kind is None:
        return None
    path = workdir / f"{kind}.cube"
    return path if path.exists() else write_table(kind, path)


async def verify(path: Path, frame: tuple[int, int], duration_s: float, *, tools: Tools) -> MediaInfo:
    """Look at what was made before anyone is told of it; raises BadResult."""
    media = await probe(path, tools=tools)
    found = (media.video.width, media.video.height)
    if media.video.codec != "h264" or found != frame or media.audio is None or media.audio.codec != "aac":
        raise BadResult(f"expected h264 {frame[0]}×{frame[1]} with aac, got {media.video} and {media.audio}")
    # AAC comes in blocks of 1024 samples (21 ms), with one block of priming.
    if abs(media.duration_s - duration_s) > 0.15:
        raise BadResult(f"expected {duration_s:.3f} s, got {media.duration_s:.3f} s")
    return media


async def _opened(path: Path, tools: Tools) -> MediaInfo:
    """Raises UnusableVideo also for what can be seen in a whole file only."""
    media = await probe(path, tools=tools)
    if "mpegts" in media.container:
        await asyncio.to_thread(programs.check_formats, path)
    if media.container == "avi":
        media = replace(media, torn=await asyncio.to_thread(avi.is_torn, path))
    return media


def _scaled(
    report: Report, phase: str, total_s: float, before_s: float, fetched: float = _FETCHED
) -> Callable[[float], Awaitable[None]]:
    async def on_time(seconds: float) -> None:
        share = min(1.0, (before_s + seconds) / total_s)
        await report(fetched + (_ENCODED - _FETCHED) * share, phase)

    return on_time


def _inside(media: MediaInfo, start_s: float, end_s: float, key: str) -> None:
    # ffprobe tells when the decoding of a fragmented MP4 ends. With B-frames and a variable rate, pictures are shown
    # for some seconds after that. Finalize found the right end, by which the times of a clip were judged. A browser's
    # recording does not tell its length.
    if not media.duration_s:
        return
    if end_s > media.duration_s + ffmpeg.HOLD_SECONDS:
        raise UnusableVideo(
            f"{start_s:g}–{end_s:g} s lies beyond the end of {key.rsplit('/', 2)[-2]} ({media.duration_s:.2f} s)"
        )


class _Facts(TypedDict):
    size_bytes: int
    duration_s: float
    width: int
    height: int
    video_codec: str
    audio_codec: str | None


def _facts(media: MediaInfo) -> _Facts:
    return _Facts(
        size_bytes=media.size_bytes,
        duration_s=media.duration_s,
        width=media.video.width,
        height=media.video.height,
        video_codec=media.video.codec,
        audio_codec=media.audio.codec if media.audio else None,
    )
