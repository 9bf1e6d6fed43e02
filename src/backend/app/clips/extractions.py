"""Changes that concern a clip and its extractions together. Each function runs within one transaction.

At most one extraction of a clip is unfinished, and it has the clip's bounds. Every extraction writes its own object,
because a cancelled one may still run on Modal and must not replace the file of a later one.
"""

from dataclasses import dataclass

import apsw

from app.clips import rows
from app.db.rows import Row
from app.jobs import rows as job_rows
from app.jobs.models import Job, JobKind
from app.storage.keys import ProfileKeys
from reel.payloads import ExtractClip


@dataclass(frozen=True)
class Ended:
    """What the caller does once the transaction is in object storage: stop these jobs and delete these (full) keys."""

    jobs: list[Job]
    files: list[str]


def begin(connection: apsw.Connection, job_id: str, clip_id: str, keys: ProfileKeys) -> Job:
    """The unfinished extraction of the clip, or a new one with the id ``job_id``. Raises a 404 problem."""
    clip = rows.required(connection, clip_id)
    earlier = job_rows.of_kind(connection, JobKind.EXTRACTION, clip_id)
    for job in earlier:
        if not job.status.over:
            return job
    payload = ExtractClip(
        source_key=keys.game_source(clip["game_id"], clip["game_extension"]),
        output_key=keys.clip(clip_id if not earlier else f"{clip_id}-{len(earlier)}"),
        start_s=clip["start_s"],
        end_s=clip["end_s"],
    )
    return job_rows.create(connection, job_id, JobKind.EXTRACTION, clip_id, payload.to_dict())


def change_clip(
    connection: apsw.Connection,
    clip_id: str,
    *,
    name: str | None = None,
    start: float | None = None,
    end: float | None = None,
) -> tuple[Row, list[Job]]:
    """Changes the clip (`rows.change`) and cancels extractions of other bounds. Returns the clip and these jobs."""
    clip = rows.change(connection, clip_id, name=name, start=start, end=end)
    stopped = [
        job
        for job in job_rows.of_kind(connection, JobKind.EXTRACTION, clip_id)
        if (job.payload["start_s"], job.payload["end_s"]) != (clip["start_s"], clip["end_s"])
        and job_rows.cancel(connection, job.id)
    ]
    return (rows.required(connection, clip_id) if stopped else clip), stopped


def end(connection: apsw.Connection, clip_ids: list[str], keys: ProfileKeys) -> Ended:
    """Cancels the extractions of clips that are deleted. Returns those jobs and the files of all extractions."""
    jobs = [job for clip_id in clip_ids for job in job_rows.of_kind(connection, JobKind.EXTRACTION, clip_id)]
    files = [*map(keys.clip, clip_ids), *(job.payload["output_key"] for job in jobs)]
    return Ended([job for job in jobs if job_rows.cancel(connection, job.id)], list(dict.fromkeys(files)))
