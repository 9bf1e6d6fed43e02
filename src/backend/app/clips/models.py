"""Bodies of `/api/clips`."""

import json
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.db.rows import Row
from app.ids import ID_PATTERN
from app.jobs.models import JobView, relative_key
from app.models import Body, View, name

Name = Annotated[str, name(200)]
Second = Annotated[float, Field(ge=0, allow_inf_nan=False, description="Seconds from the start of the game.")]


class NewClip(Body):
    game_id: Annotated[str, Field(pattern=ID_PATTERN)]
    name: Name
    start: Second
    end: Second


class ClipChange(Body):
    """A field that is absent keeps its value."""

    name: Name = ""
    start: Second = 0.0
    end: Second = 0.0


class ClipStatus(StrEnum):
    """`new` until an extraction is requested, `ready` when the clip has its own file."""

    NEW = "new"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


class ClipView(View):
    id: str
    game_id: str
    name: str
    start: float
    end: float
    duration: float
    status: ClipStatus
    reason: str | None = Field(description="Why the extraction failed.")
    key: str | None = Field(description="Relative to the profile, once the clip is extracted.")
    created_at: str
    updated_at: str


class ClipList(View):
    clips: list[ClipView]


class Extraction(JobView):
    clip_id: str


class ExtractionList(View):
    extractions: list[Extraction]


def view(row: Row) -> ClipView:
    extracted = row["extracted_s"] is not None
    return ClipView(
        id=row["id"],
        game_id=row["game_id"],
        name=row["name"],
        start=row["start_s"],
        end=row["end_s"],
        duration=row["end_s"] - row["start_s"],
        status=_status(extracted, row["job_status"]),
        reason=row["job_reason"] if not extracted and row["job_status"] == "failed" else None,
        key=_key(row) if extracted else None,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _key(row: Row) -> str:
    """The key of the newest complete extraction; without such a job, the key of the clip's first extraction."""
    return relative_key(json.loads(row["job_result"])) if row["job_result"] else f"clips/{row['id']}.mp4"


def _status(extracted: bool, job_status: str | None) -> ClipStatus:
    if extracted:
        return ClipStatus.READY
    if job_status in ("pending", "processing"):
        return ClipStatus.PROCESSING
    return ClipStatus.FAILED if job_status == "failed" else ClipStatus.NEW
