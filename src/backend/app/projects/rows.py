"""Rows of projects and the order of their clips."""

import json
from typing import Any

from apsw import Connection

from app.db.rows import Row, execute, fetch_all, fetch_one, insert
from app.timestamps import now


def save(connection: Connection, project_id: str, name: str, options: dict[str, Any], clip_ids: list[str]) -> None:
    """Makes or replaces a project."""
    stamp = now()
    if find(connection, project_id) is None:
        row = {"id": project_id, "name": name, "options": json.dumps(options)}
        insert(connection, "projects", {**row, "created_at": stamp, "updated_at": stamp})
    else:
        execute(
            connection,
            "UPDATE projects SET name = ?, options = ?, updated_at = ? WHERE id = ?",
            (name, json.dumps(options), stamp, project_id),
        )
    execute(connection, "DELETE FROM project_clips WHERE project_id = ?", (project_id,))
    for position, clip_id in enumerate(clip_ids):
        insert(connection, "project_clips", {"project_id": project_id, "position": position, "clip_id": clip_id})


def find(connection: Connection, project_id: str) -> Row | None:
    """The row with `options` as a dict and `clip_ids` in order."""
    row = fetch_one(connection, "SELECT * FROM projects WHERE id = ?", (project_id,))
    return _full(connection, row) if row else None


def everything(connection: Connection) -> list[Row]:
    """Newest first."""
    found = fetch_all(connection, "SELECT * FROM projects ORDER BY created_at DESC, rowid DESC")
    return [_full(connection, row) for row in found]


def delete(connection: Connection, project_id: str) -> None:
    execute(connection, "DELETE FROM project_clips WHERE project_id = ?", (project_id,))
    execute(connection, "DELETE FROM projects WHERE id = ?", (project_id,))


def _full(connection: Connection, row: Row) -> Row:
    clips = fetch_all(
        connection, "SELECT clip_id FROM project_clips WHERE project_id = ? ORDER BY position", (row["id"],)
    )
    return {**row, "options": json.loads(row["options"]), "clip_ids": [clip["clip_id"] for clip in clips]}
