"""Decides what `reel.render` encodes: the size and the frame rate of a clip, and the pieces of a reel or of a long
clip."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from reel.ffmpeg import REEL_RATE
from reel.media import MediaInfo
from reel.payloads import ExtractClip, ReelClip, RenderOptions, RenderReel

# More urgent work waits until a piece of this length is encoded, and a Machine that stops loses at most one piece.
PIECE_SECONDS: Final = 20


@dataclass(frozen=True)
class ReelPiece:
    """A clip of a reel, or a part of a long one. `first` and `last` say whether it is the clip's first and last part;
    `begin_s` is in seconds of the source."""

    clip: ReelClip
    begin_s: float
    frames: int
    first: bool
    last: bool
    name: str
    path: Path


def reel_pieces(job: RenderReel, workdir: Path, *, long: bool) -> list[ReelPiece]:
    """The pieces of a reel, in order. With `long`, a clip of any length is one piece."""
    pieces: list[ReelPiece] = []
    for clip in job.clips:
        rate = Fraction(REEL_RATE)
        frames = frames_in(clip.duration_s, rate)
        counts = [frames] if long else split_frames(frames, rate)
        for number, count in enumerate(counts):
            pieces.append(
                ReelPiece(
                    clip=clip,
                    begin_s=clip.start_s + float(sum(counts[:number]) / rate),
                    frames=count,
                    first=number == 0,
                    last=number == len(counts) - 1,
                    name=f"{piece_name(clip, job.options)}-{number:04d}.mov",
                    path=piece_file(workdir, len(pieces)),
                )
            )
    return pieces


def clip_rate(media: MediaInfo) -> Fraction:
    """Frames per second of a clip: those of the source from 5 to 60. A higher rate is halved until it is at most 60. A
    rate below 5 or above 1000, or an unknown one, becomes that of reels."""
    rate = media.video.fps
    if rate is None or not 5 <= rate <= 1000:
        return Fraction(REEL_RATE)
    while rate > 60:
        rate /= 2
    return rate.limit_denominator(1001)


def clip_size(media: MediaInfo, long_side: int, short_side: int) -> tuple[int, int]:
    """Width and height of a clip, both even: the source's shape within two sides, never larger than the source."""
    width, height = media.video.width, media.video.height
    scale = min(1.0, long_side / max(width, height), short_side / min(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def piece_name(clip: ReelClip, options: RenderOptions) -> str:
    """The beginning of the names of the pieces of a reel's clip. The same content gives the same name, because a source
    never changes."""
    content = {**clip.to_dict(), **options.to_dict(), "clip_id": ""}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def part_name(clip: ExtractClip, size: tuple[int, int]) -> str:
    """The beginning of the names of the pieces of a clip's own file."""
    content = {**clip.to_dict(), "size": size}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def split_frames(frames: int, rate: Fraction) -> list[int]:
    """How many frames each piece of a clip has. The last one is half to one and a half times as long as the others."""
    count = max(1, round(PIECE_SECONDS * rate))
    whole, rest = divmod(frames, count)
    if rest and rest < count / 2 and whole:
        return [*[count] * (whole - 1), count + rest]
    return [count] * whole + ([rest] if rest else [])


def piece_file(workdir: Path, number: int) -> Path:
    return workdir / f"piece-{number:03d}.mov"


def frames_in(duration_s: float, rate: Fraction) -> int:
    return max(1, round(duration_s * float(rate)))
