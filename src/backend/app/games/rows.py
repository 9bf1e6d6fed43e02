"""Rows of games."""

from typing import Any

import apsw

from app.db.rows import Row, execute, fetch_all, fetch_one, insert
from app.timestamps import now


def create(connection: apsw.Connection, row: Row) -> None:
    stamp = now()
    insert(connection, "games", {**row, "status": "uploading", "created_at": stamp, "updated_at": stamp})


def find(connection: apsw.Connection, game_id: str) -> Row | None:
    return fetch_one(connection, "SELECT * FROM games WHERE id = ?", (game_id,))


def everything(connection: apsw.Connection) -> list[Row]:
    """Newest first."""
    return fetch_all(connection, "SELECT * FROM games ORDER BY created_at DESC, id")


def set_ready(connection: apsw.Connection, game_id: str, facts: dict[str, Any]) -> None:
    execute(
        connection,
        """
        UPDATE games SET status = 'ready', upload_id = NULL, duration_s = :duration_s, width = :width,
            height = :height, video_codec = :video_codec, audio_codec = :audio_codec, updated_at = :now
        WHERE id = :id
        """,
        {**facts, "id": game_id, "now": now()},
    )


def delete(connection: apsw.Connection, game_id: str) -> None:
    execute(connection, "DELETE FROM games WHERE id = ?", (game_id,))


def clip_ids(connection: apsw.Connection, game_id: str) -> list[str]:
    return [row["id"] for row in fetch_all(connection, "SELECT id FROM clips WHERE game_id = ?", (game_id,))]
