"""The payloads and results that the Machine and the GPU functions exchange. Both sides use these definitions.

They are sent as plain dicts (`to_dict`, `from_dict`). Keys are full object keys, beginning with the environment's
prefix; the bucket's name is not sent, because it belongs to the credentials. Times are seconds from the source's start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from reel.wire import PayloadError, from_wire, to_wire

APP_NAME: Final = "reel-ballers-video"
PROGRESS_DICT: Final = "reel-ballers-progress"
SECRET_NAME: Final = "reel-ballers-r2"

MAX_CLIPS: Final = 50
MAX_OVERLAY_TEXT: Final = 200
MAX_REEL_SECONDS: Final = 1800.0
MIN_SPAN_SECONDS: Final = 0.1

Transition = Literal["cut", "fade"]
Quality = Literal["draft", "standard", "high"]
Aspect = Literal["16:9", "9:16", "1:1", "4:5"]

# Output frame per aspect and quality: even numbers, as 4:2:0 needs; short side 480, 720 or 1080.
FRAME_SIZES: Final[dict[tuple[Aspect, Quality], tuple[int, int]]] = {
    ("16:9", "draft"): (854, 480),
    ("16:9", "standard"): (1280, 720),
    ("16:9", "high"): (1920, 1080),
    ("9:16", "draft"): (480, 854),
    ("9:16", "standard"): (720, 1280),
    ("9:16", "high"): (1080, 1920),
    ("1:1", "draft"): (480, 480),
    ("1:1", "standard"): (720, 720),
    ("1:1", "high"): (1080, 1080),
    ("4:5", "draft"): (480, 600),
    ("4:5", "standard"): (720, 900),
    ("4:5", "high"): (1080, 1350),
}

__all__ = [
    "APP_NAME",
    "FRAME_SIZES",
    "PROGRESS_DICT",
    "SECRET_NAME",
    "Box",
    "DetectItem",
    "DetectPlayers",
    "DetectPlayersResult",
    "DetectedFrame",
    "DetectedItem",
    "ExtractClip",
    "ExtractClipResult",
    "PayloadError",
    "ReelClip",
    "RenderOptions",
    "RenderProgress",
    "RenderReel",
    "RenderReelResult",
    "call_entry",
]


def call_entry(output_key: str) -> str:
    """The key in the progress dict under which a function stores the id of its call, for the file that it makes."""
    return f"{output_key}/call"


class Wire:
    """`to_dict` and `from_dict` of every payload."""

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers."""
        plain: dict[str, Any] = to_wire(self)
        return plain

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """Read strictly; raises PayloadError naming the field."""
        return from_wire(cls, data)


class ResultWire(Wire):
    """A result. Fields that newer GPU functions add are ignored."""

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """Read what is known; raises PayloadError naming a field that is missing or wrong."""
        return from_wire(cls, data, ignore_unknown=True)


@dataclass(frozen=True)
class RenderOptions(Wire):
    """How a reel looks. Frame size follows from aspect and quality; `overlay_text` empty means no overlay."""

    overlay_text: str = ""
    aspect: Aspect = "16:9"
    quality: Quality = "standard"
    transition: Transition = "cut"

    def __post_init__(self) -> None:
        if len(self.overlay_text) > MAX_OVERLAY_TEXT:
            raise PayloadError(f"RenderOptions.overlay_text: at most {MAX_OVERLAY_TEXT} characters")

    @property
    def frame_size(self) -> tuple[int, int]:
        """Width and height of the output in pixels."""
        return FRAME_SIZES[self.aspect, self.quality]


@dataclass(frozen=True)
class ExtractClip(Wire):
    """Cut [start_s, end_s) of the source into its own H.264/AAC MP4, of about `max_bytes` at most where that is set."""

    source_key: str
    output_key: str
    start_s: float
    end_s: float
    quality: Quality = "standard"
    max_bytes: int = 0

    def __post_init__(self) -> None:
        _key(self.source_key, "ExtractClip.source_key")
        _key(self.output_key, "ExtractClip.output_key")
        if self.max_bytes < 0:
            raise PayloadError(f"ExtractClip.max_bytes: expected 0 (no limit) or more, got {self.max_bytes}")
        _span(self.start_s, self.end_s, "ExtractClip")


@dataclass(frozen=True)
class ExtractClipResult(ResultWire):
    """What was written to `output_key`, as ffprobe read it before the upload."""

    output_key: str
    size_bytes: int
    duration_s: float
    width: int
    height: int
    video_codec: str
    audio_codec: str | None


@dataclass(frozen=True)
class ReelClip(Wire):
    """One piece of a reel: [start_s, end_s) of an object."""

    clip_id: str
    source_key: str
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        _key(self.source_key, "ReelClip.source_key")
        _span(self.start_s, self.end_s, "ReelClip")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class RenderReel(Wire):
    """Join clips in order into one MP4. Progress is reported under `export_id`."""

    export_id: str
    output_key: str
    clips: tuple[ReelClip, ...]
    options: RenderOptions = field(default_factory=RenderOptions)

    def __post_init__(self) -> None:
        _key(self.output_key, "RenderReel.output_key")
        if not 1 <= len(self.clips) <= MAX_CLIPS:
            raise PayloadError(f"RenderReel.clips: expected 1 to {MAX_CLIPS} clips, got {len(self.clips)}")
        if self.duration_s > MAX_REEL_SECONDS:
            raise PayloadError(f"RenderReel.clips: {self.duration_s:.1f} s in all, at most {MAX_REEL_SECONDS:.0f} s")

    @property
    def duration_s(self) -> float:
        """Length of the reel in seconds, before any transition (a fade does not shorten it)."""
        return math.fsum(clip.duration_s for clip in self.clips)


@dataclass(frozen=True)
class RenderReelResult(ResultWire):
    """What was written to `output_key`, as ffprobe read it before the upload."""

    export_id: str
    output_key: str
    size_bytes: int
    duration_s: float
    width: int
    height: int
    video_codec: str
    audio_codec: str | None


@dataclass(frozen=True)
class RenderProgress(Wire):
    """Value in the progress dict, under the export id: 0 to 1, a phase, unix seconds of the last change."""

    progress: float
    phase: str
    updated_at: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.progress <= 1.0:
            raise PayloadError(f"RenderProgress.progress: expected 0 to 1, got {self.progress}")


@dataclass(frozen=True)
class DetectItem(Wire):
    """One span of a source to look for players in; `item_id` is handed back."""

    item_id: str
    source_key: str
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        _key(self.source_key, "DetectItem.source_key")
        _span(self.start_s, self.end_s, "DetectItem")


@dataclass(frozen=True)
class DetectPlayers(Wire):
    """A batch: `frames_per_item` frames, evenly spaced, of each item."""

    items: tuple[DetectItem, ...]
    frames_per_item: int = 5

    def __post_init__(self) -> None:
        if not 1 <= len(self.items) <= MAX_CLIPS:
            raise PayloadError(f"DetectPlayers.items: expected 1 to {MAX_CLIPS} items, got {len(self.items)}")
        if not 1 <= self.frames_per_item <= 60:
            raise PayloadError(f"DetectPlayers.frames_per_item: expected 1 to 60, got {self.frames_per_item}")


@dataclass(frozen=True)
class Box(Wire):
    """A player: fractions of the frame from its top left, and a score of 0 to 1."""

    x: float
    y: float
    width: float
    height: float
    score: float


@dataclass(frozen=True)
class DetectedFrame(Wire):
    """Boxes of one frame, at `time_s` of the source."""

    time_s: float
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class DetectedItem(Wire):
    """Frames of one item, in time order."""

    item_id: str
    frames: tuple[DetectedFrame, ...]


@dataclass(frozen=True)
class DetectPlayersResult(ResultWire):
    """One entry per item of the batch, in its order."""

    items: tuple[DetectedItem, ...]


def _key(key: str, where: str) -> None:
    """A full key as the app builds them: relative, no empty or dotted segments, at most R2's 1024 bytes."""
    segments = key.split("/")
    if len(segments) < 2 or any(segment in ("", ".", "..") for segment in segments) or len(key.encode()) > 1024:
        raise PayloadError(f"{where}: expected a full object key such as staging/users/…/clip.mp4, got {key!r}")


def _span(start_s: float, end_s: float, where: str) -> None:
    if start_s < 0:
        raise PayloadError(f"{where}.start_s: expected 0 or more, got {start_s}")
    if end_s - start_s < MIN_SPAN_SECONDS:
        raise PayloadError(
            f"{where}.end_s: expected at least {MIN_SPAN_SECONDS} s after start_s, got {start_s}–{end_s}"
        )
