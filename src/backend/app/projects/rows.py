"""Rows of projects and the order of their clips."""

import json
from typing import Any

from apsw import Connection

from app import problems
from app.clips import rows as clip_rows
from app.db.rows import Row, execute, fetch_all, fetch_one, insert
from app.timestamps import now


def create(connection: Connection, project_id: str, name: str, options: dict[str, Any], clip_ids: list[str]) -> Row:
    """A new project. Raises a 422 problem that names the clips that do not exist."""
    stamp = now()
    row = {"id": project_id, "name": name, "options": json.dumps(options), "created_at": stamp, "updated_at": stamp}
    insert(connection, "projects", row)
    _place(connection, project_id, clip_ids)
    return required(connection, project_id)


def change(
    connection: Connection,
    project_id: str,
    *,
    name: str | None = None,
    options: dict[str, Any] | None = None,
    clip_ids: list[str] | None = None,
) -> Row:
    """Changes what is given and nothing else; of ``options`` only the keys that it has. Raises a 404 or 422 problem."""
    required(connection, project_id)
    execute(
        connection,
        """
        UPDATE projects SET name = coalesce(?, name), options = json_patch(options, ?), updated_at = ? WHERE id = ?
        """,
        (name, json.dumps(options or {}), now(), project_id),
    )
    if clip_ids is not None:
        execute(connection, "DELETE FROM project_clips WHERE project_id = ?", (project_id,))
        _place(connection, project_id, clip_ids)
    return required(connection, project_id)


def required(connection: Connection, project_id: str) -> Row:
    """The project; raises a 404 problem."""
    found = find(connection, project_id)
    if found is None:
        raise problems.NOT_FOUND.error(f"There is no project {project_id!r} in this profile")
    return found


def find(connection: Connection, project_id: str) -> Row | None:
    """The row with `options` as a dict and `clip_ids` in order."""
    row = fetch_one(connection, "SELECT * FROM projects WHERE id = ?", (project_id,))
    return _full(connection, row) if row else None


def everything(connection: Connection) -> list[Row]:
    """Newest first."""
    found = fetch_all(connection, "SELECT * FROM projects ORDER BY created_at DESC, rowid DESC")
    return [_full(connection, row) for row in found]


def delete(connection: Connection, project_id: str) -> None:
    """Raises a 404 problem."""
    required(connection, project_id)
    execute(connection, "DELETE FROM project_clips WHERE project_id = ?", (project_id,))
    execute(connection, "DELETE FROM projects WHERE id = ?", (project_id,))


def _place(connection: Connection, project_id: str, clip_ids: list[str]) -> None:
    unknown = [clip_id for clip_id in clip_ids if clip_rows.find(connection, clip_id) is None]
    if unknown:
        raise problems.INVALID.error(f"body.clip_ids: no such clips in this profile: {', '.join(unknown[:10])}")
    for position, clip_id in enumerate(clip_ids):
        insert(connection, "project_clips", {"project_id": project_id, "position": position, "clip_id": clip_id})


def _full(connection: Connection, row: Row) -> Row:
    clips = fetch_all(
        connection, "SELECT clip_id FROM project_clips WHERE project_id = ? ORDER BY position", (row["id"],)
    )
    return {**row, "options": json.loads(row["options"]), "clip_ids": [clip["clip_id"] for clip in clips]}
