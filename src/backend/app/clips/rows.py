"""Rows of clips."""

from typing import Any

from apsw import Connection

from app.db.rows import Row, execute, fetch_all, fetch_one, insert
from app.timestamps import now

__all__ = ["Connection", "create", "delete", "everything", "find", "projects_with", "set_extracted", "update"]

_SELECT = """
    SELECT clips.*, games.extension AS game_extension, games.duration_s AS game_duration_s,
        (SELECT status FROM jobs WHERE kind = 'extraction' AND subject_id = clips.id
            ORDER BY created_at DESC, rowid DESC LIMIT 1) AS job_status,
        (SELECT reason FROM jobs WHERE kind = 'extraction' AND subject_id = clips.id
            ORDER BY created_at DESC, rowid DESC LIMIT 1) AS job_reason
    FROM clips JOIN games ON games.id = clips.game_id
"""


def create(connection: Connection, row: Row) -> None:
    stamp = now()
    insert(connection, "clips", {**row, "created_at": stamp, "updated_at": stamp})


def find(connection: Connection, clip_id: str) -> Row | None:
    return fetch_one(connection, f"{_SELECT} WHERE clips.id = ?", (clip_id,))


def everything(connection: Connection, game_id: str | None) -> list[Row]:
    """Newest first; of one game where one is given."""
    return fetch_all(
        connection,
        f"{_SELECT} WHERE :game IS NULL OR clips.game_id = :game ORDER BY clips.created_at DESC, clips.rowid DESC",
        {"game": game_id},
    )


def update(connection: Connection, clip_id: str, changes: dict[str, Any], *, forget_extraction: bool) -> None:
    """Changes name or bounds; an extraction of other bounds counts no more."""
    row = {"name": None, "start_s": None, "end_s": None, **changes}
    execute(
        connection,
        """
        UPDATE clips SET name = coalesce(:name, name), start_s = coalesce(:start_s, start_s),
            end_s = coalesce(:end_s, end_s), extracted_s = iif(:forget, NULL, extracted_s), updated_at = :now
        WHERE id = :id
        """,
        {**row, "id": clip_id, "forget": int(forget_extraction), "now": now()},
    )


def set_extracted(connection: Connection, clip_id: str, start_s: float, end_s: float, duration_s: float) -> None:
    """Notes a finished extraction, unless the clip has other bounds by now."""
    execute(
        connection,
        "UPDATE clips SET extracted_s = ?, updated_at = ? WHERE id = ? AND start_s = ? AND end_s = ?",
        (duration_s, now(), clip_id, start_s, end_s),
    )


def delete(connection: Connection, clip_id: str) -> None:
    """The clip and its places in projects, which close up."""
    execute(connection, "DELETE FROM project_clips WHERE clip_id = ?", (clip_id,))
    execute(connection, "DELETE FROM clips WHERE id = ?", (clip_id,))


def projects_with(connection: Connection, clip_id: str) -> list[str]:
    found = fetch_all(connection, "SELECT DISTINCT project_id FROM project_clips WHERE clip_id = ?", (clip_id,))
    return [row["project_id"] for row in found]
