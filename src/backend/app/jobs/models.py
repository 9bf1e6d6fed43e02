"""The types of a job: its row, its events and its response body."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import Field

from app.db.rows import Row
from app.models import View


class JobKind(StrEnum):
    EXPORT = "export"
    EXTRACTION = "extraction"
    PREVIEW = "preview"
    INSPECTION = "inspection"


MARKED: Final = (JobKind.PREVIEW, JobKind.INSPECTION)
"""Kinds that are extractions with a mark in the column of that name (`m0003`, `m0004`)."""


DELETED: Final = ""
"""The subject of a deleted job, whose row only keeps the id of a Modal call (`rows.delete`)."""


class JobStatus(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether the job has ended: it is complete, failed or cancelled."""
        return self in (JobStatus.COMPLETE, JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True)
class Job:
    """`subject_id` is the project of an export, the clip of an extraction, the game of a preview or an inspection;
    `name` is an export's own; `lease_until` is in unix seconds; `checkpoint` is from where an inspection goes on."""

    id: str
    kind: JobKind
    subject_id: str
    status: JobStatus
    progress: float
    phase: str
    reason: str | None
    payload: dict[str, Any]
    result: dict[str, Any] | None
    call_id: str | None
    owner: str | None
    lease_until: float
    created_at: str
    updated_at: str
    name: str | None = None
    checkpoint: str | None = None


def from_row(row: Row) -> Job:
    """The job of a row. Columns of a newer release are ignored."""
    return Job(
        **{
            **{name: row[name] for name in Job.__dataclass_fields__},
            "kind": next((kind for kind in MARKED if row[kind.value]), JobKind(row["kind"])),
            "status": JobStatus(row["status"]),
            "payload": json.loads(row["payload"]),
            "result": json.loads(row["result"]) if row["result"] else None,
        }
    )


def relative_key(result: dict[str, Any]) -> str:
    """The key of a job's result, relative to the profile."""
    # {APP_ENV}/users/{user}/profiles/{profile}/…
    return "/".join(result["output_key"].split("/")[5:])


class JobView(View):
    id: str
    status: JobStatus
    progress: float = Field(description="0 to 1.")
    phase: str
    reason: str | None = Field(description="Why it failed.")
    key: str | None = Field(description="Of the result, relative to the profile, once complete.")
    size: int | None
    duration: float | None
    created_at: str
    updated_at: str


def view_fields(job: Job) -> dict[str, Any]:
    """The fields of JobView."""
    result = job.result if job.status is JobStatus.COMPLETE and job.result else {}
    return {
        "id": job.id,
        "status": job.status,
        "progress": round(job.progress, 4),
        "phase": job.phase,
        "reason": job.reason,
        "key": relative_key(result) if result else None,
        "size": result.get("size_bytes"),
        "duration": result.get("duration_s"),
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }


SUBJECT_FIELD = {
    JobKind.EXPORT: "project_id",
    JobKind.EXTRACTION: "clip_id",
    JobKind.PREVIEW: "game_id",
    JobKind.INSPECTION: "game_id",
}


def event(job: Job, kind: str) -> dict[str, Any]:
    """What a WebSocket sends about a job; `kind` is `state` for the first message, then `progress`."""
    fields = {**view_fields(job), SUBJECT_FIELD[job.kind]: job.subject_id}
    name = "export_id" if job.kind is JobKind.EXPORT else "extraction_id"
    return {"type": kind, name: job.id, **fields}
