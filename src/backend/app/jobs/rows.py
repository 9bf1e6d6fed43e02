"""Rows of jobs. Each WHERE clause names the states that the change may start from, so no writer undoes another."""

import json
from typing import Any

import apsw

from app import problems
from app.db.rows import execute, fetch_all, fetch_one, insert
from app.jobs.models import DELETED, MARKED, Job, JobKind, from_row
from app.timestamps import now

_IS_DELETED = f"preview AND subject_id = '{DELETED}'"


def create(
    connection: apsw.Connection,
    job_id: str,
    kind: JobKind,
    subject_id: str,
    payload: dict[str, Any],
    name: str | None = None,
) -> Job:
    """A pending job."""
    stamp = now()
    insert(
        connection,
        "jobs",
        {
            "id": job_id,
            **_kind(kind),
            "name": name,
            "subject_id": subject_id,
            "status": "pending",
            "payload": json.dumps(payload),
            "created_at": stamp,
            "updated_at": stamp,
        },
    )
    return required(connection, job_id, kind)


def _kind(kind: JobKind) -> dict[str, Any]:
    """The columns that say it."""
    marks = {marked.value: int(kind is marked) for marked in MARKED}
    return {"kind": JobKind.EXTRACTION.value if kind in MARKED else kind.value, **marks}


def required(connection: apsw.Connection, job_id: str, kind: JobKind) -> Job:
    """The job; raises a 404 problem when there is none of this kind."""
    job = find(connection, job_id)
    if job is None or job.kind is not kind:
        raise problems.NOT_FOUND.error(f"There is no {kind.value} {job_id!r} in this profile")
    return job


def find(connection: apsw.Connection, job_id: str) -> Job | None:
    row = fetch_one(connection, "SELECT * FROM jobs WHERE id = ?", (job_id,))
    return from_row(row) if row else None


def of_kind(connection: apsw.Connection, kind: JobKind, subject_id: str | None = None, limit: int = -1) -> list[Job]:
    """Newest first; with a negative ``limit`` all of them."""
    found = fetch_all(
        connection,
        """
        SELECT * FROM jobs
        WHERE kind = :kind AND preview = :preview AND inspection = :inspection
            AND (:subject IS NULL OR subject_id = :subject)
        ORDER BY created_at DESC, rowid DESC LIMIT :limit
        """,
        {**_kind(kind), "subject": subject_id, "limit": limit},
    )
    return [from_row(row) for row in found]


def unfinished(connection: apsw.Connection) -> list[Job]:
    """Oldest first."""
    found = fetch_all(
        connection, "SELECT * FROM jobs WHERE status IN ('pending', 'processing') ORDER BY created_at, rowid"
    )
    return [from_row(row) for row in found]


def ended_calls(connection: apsw.Connection, since: str) -> list[Job]:
    """Cancelled and failed jobs that have a Modal call and ended at `since` or later."""
    found = fetch_all(
        connection,
        f"""
        SELECT * FROM jobs
        WHERE status IN ('cancelled', 'failed') AND call_id IS NOT NULL AND updated_at >= ? AND NOT ({_IS_DELETED})
        """,
        (since,),
    )
    return [from_row(row) for row in found]


def deleted(connection: apsw.Connection) -> list[Job]:
    """Deleted jobs whose Modal call may still run (`delete`)."""
    return [from_row(row) for row in fetch_all(connection, f"SELECT * FROM jobs WHERE {_IS_DELETED}")]


def claim(connection: apsw.Connection, job_id: str, owner: str, at: float, lease_s: float) -> Job | None:
    """Takes a job for `owner`; None if the job has ended or another process holds its lease.

    An owner is `machine/process`. A lease of another process of the same Machine is void, because that process died.
    """
    machine = owner.split("/", 1)[0] + "/"
    changed = execute(
        connection,
        """
        UPDATE jobs SET status = 'processing', owner = :owner, lease_until = :until, updated_at = :now
        WHERE id = :id AND (status = 'pending' OR (status = 'processing' AND
            (owner IS NULL OR lease_until < :at OR substr(owner, 1, length(:machine)) = :machine)))
        """,
        {"id": job_id, "owner": owner, "until": at + lease_s, "at": at, "machine": machine, "now": now()},
    )
    return find(connection, job_id) if changed else None


def renew(connection: apsw.Connection, job: Job, owner: str, until: float) -> bool:
    """Extends the lease, and stores the job's progress, phase and checkpoint. False if the job was cancelled or another
    process took it."""
    return bool(
        execute(
            connection,
            """
            UPDATE jobs SET lease_until = ?, progress = max(progress, ?), phase = ?, checkpoint = ?, updated_at = ?
            WHERE id = ? AND owner = ? AND status = 'processing'
            """,
            (until, job.progress, job.phase, job.checkpoint, now(), job.id, owner),
        )
    )


def set_call(connection: apsw.Connection, job_id: str, owner: str, call_id: str | None) -> bool:
    """Stores the id of the Modal call that does the work, or None if that call is no longer used."""
    return bool(
        execute(
            connection,
            "UPDATE jobs SET call_id = ?, updated_at = ? WHERE id = ? AND owner = ? AND status = 'processing'",
            (call_id, now(), job_id, owner),
        )
    )


def complete(connection: apsw.Connection, job_id: str, owner: str, result: dict[str, Any]) -> bool:
    return bool(
        execute(
            connection,
            """
            UPDATE jobs SET status = 'complete', progress = 1, phase = 'complete', reason = NULL, result = ?,
                checkpoint = NULL, owner = NULL, lease_until = 0, updated_at = ?
            WHERE id = ? AND owner = ? AND status = 'processing'
            """,
            (json.dumps(result), now(), job_id, owner),
        )
    )


def fail(connection: apsw.Connection, job_id: str, reason: str, owner: str | None = None) -> bool:
    """Marks an unfinished job as failed. With `owner`, only if `owner` holds it."""
    return bool(
        execute(
            connection,
            """
            UPDATE jobs SET status = 'failed', phase = 'failed', reason = :reason, owner = NULL, lease_until = 0,
                updated_at = :now
            WHERE id = :id AND status IN ('pending', 'processing') AND (:owner IS NULL OR owner = :owner)
            """,
            {"reason": reason[:2000], "now": now(), "id": job_id, "owner": owner},
        )
    )


def fail_exports_of(connection: apsw.Connection, source_key: str, reason: str) -> list[Job]:
    """Marks unfinished exports that use this source as failed. Returns them as they were before."""
    return [
        job
        for job in unfinished(connection)
        if job.kind is JobKind.EXPORT
        and any(clip["source_key"] == source_key for clip in job.payload["clips"])
        and fail(connection, job.id, reason)
    ]


def release(connection: apsw.Connection, job_id: str, owner: str, call_id: str | None) -> bool:
    """Ends the lease of an unfinished job, so that another process may take it. Its Modal call keeps running."""
    return bool(
        execute(
            connection,
            """
            UPDATE jobs SET status = 'pending', call_id = ?, owner = NULL, lease_until = 0, updated_at = ?
            WHERE id = ? AND owner = ? AND status = 'processing'
            """,
            (call_id, now(), job_id, owner),
        )
    )


def cancel(connection: apsw.Connection, job_id: str) -> bool:
    return bool(
        execute(
            connection,
            """
            UPDATE jobs SET status = 'cancelled', phase = 'cancelled', owner = NULL, lease_until = 0, updated_at = ?
            WHERE id = ? AND status IN ('pending', 'processing')
            """,
            (now(), job_id),
        )
    )


def rename(connection: apsw.Connection, job_id: str, name: str) -> None:
    execute(connection, "UPDATE jobs SET name = ?, updated_at = ? WHERE id = ?", (name, now(), job_id))


def delete(connection: apsw.Connection, job_id: str) -> None:
    """Deletes a job. If its Modal call may still run, a row stays until `forget`, because no other place has the call's
    id if this Machine dies now. That row is a cancelled preview of no game: no route shows it, and an older release,
    which does not know of such rows, cancels the call too."""
    kept = execute(
        connection,
        """
        UPDATE jobs SET kind = 'extraction', preview = 1, subject_id = ?, status = 'cancelled', phase = 'cancelled',
            owner = NULL, lease_until = 0, updated_at = ?
        WHERE id = ? AND call_id IS NOT NULL AND status != 'complete'
        """,
        (DELETED, now(), job_id),
    )
    if not kept:
        execute(connection, "DELETE FROM jobs WHERE id = ?", (job_id,))


def forget(connection: apsw.Connection, job_id: str) -> None:
    """Deletes the row that `delete` kept."""
    execute(connection, f"DELETE FROM jobs WHERE id = ? AND {_IS_DELETED}", (job_id,))


def sources_exist(connection: apsw.Connection, job: Job) -> bool:
    """Whether every game that an export is rendered from is still there."""
    games = {clip["source_key"].split("/")[-2] for clip in job.payload["clips"]}
    return all(fetch_one(connection, "SELECT 1 FROM games WHERE id = ?", (game,)) for game in games)


def retry(connection: apsw.Connection, job_id: str) -> bool:
    """Queues a failed or cancelled job again, from the beginning."""
    return bool(
        execute(
            connection,
            """
            UPDATE jobs SET status = 'pending', phase = 'queued', progress = 0, reason = NULL, result = NULL,
                call_id = NULL, updated_at = ?
            WHERE id = ? AND status IN ('failed', 'cancelled')
            """,
            (now(), job_id),
        )
    )
