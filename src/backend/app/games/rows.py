"""Rows of games."""

from typing import Any

import apsw

from app import problems
from app.db.rows import Row, execute, fetch_all, fetch_one, insert
from app.timestamps import now

# With the newest preview job of each game.
_SELECT = """
    SELECT games.*, jobs.status AS preview_status, jobs.progress AS preview_progress, jobs.reason AS preview_reason,
        jobs.result AS preview_result
    FROM games LEFT JOIN jobs ON jobs.rowid = (
        SELECT max(rowid) FROM jobs WHERE kind = 'extraction' AND preview AND subject_id = games.id)
"""


def create(connection: apsw.Connection, row: Row) -> None:
    """A game whose upload begins."""
    stamp = now()
    insert(connection, "games", {**row, "status": "uploading", "created_at": stamp, "updated_at": stamp})


def find(connection: apsw.Connection, game_id: str) -> Row | None:
    return fetch_one(connection, f"{_SELECT} WHERE games.id = ?", (game_id,))


def required(connection: apsw.Connection, game_id: str) -> Row:
    """The game; raises a 404 problem."""
    found = find(connection, game_id)
    if found is None:
        raise problems.NOT_FOUND.error(f"There is no game {game_id!r} in this profile")
    return found


def everything(connection: apsw.Connection) -> list[Row]:
    """Newest first."""
    return fetch_all(connection, f"{_SELECT} ORDER BY games.created_at DESC, games.id")


def rename(connection: apsw.Connection, game_id: str, name: str) -> Row:
    """Renames a game and returns it. Raises a 404 problem."""
    execute(connection, "UPDATE games SET name = ?, updated_at = ? WHERE id = ?", (name, now(), game_id))
    return required(connection, game_id)


def go_on(connection: apsw.Connection, game_id: str) -> Row:
    """A game whose upload goes on, which the sweep must then leave alone. Raises a 404 problem, and a 409 problem when
    the upload is finished."""
    if not execute(
        connection, "UPDATE games SET updated_at = ? WHERE id = ? AND status = 'uploading'", (now(), game_id)
    ):
        required(connection, game_id)
        raise problems.CONFLICT.error(f"The upload of game {game_id!r} is finished")
    return required(connection, game_id)


def set_ready(connection: apsw.Connection, game_id: str, facts: dict[str, Any]) -> Row:
    """Ends the upload with what was found in the video. Another request that ended it first wins. Raises a 404 problem
    when the game was deleted meanwhile."""
    execute(
        connection,
        """
        UPDATE games SET status = 'ready', upload_id = NULL, duration_s = :duration_s, width = :width,
            height = :height, frame_rate = :frame_rate, video_codec = :video_codec, audio_codec = :audio_codec,
            updated_at = :now
        WHERE id = :id AND status = 'uploading'
        """,
        {**facts, "id": game_id, "now": now()},
    )
    return required(connection, game_id)


def discard(connection: apsw.Connection, game_id: str) -> bool:
    """Deletes a game whose upload cannot be used; False if the upload was finished or the game deleted meanwhile."""
    return bool(execute(connection, "DELETE FROM games WHERE id = ? AND status = 'uploading'", (game_id,)))


def delete(connection: apsw.Connection, game_id: str, *, cascade: bool) -> tuple[Row, list[str]]:
    """Deletes a game, and with ``cascade`` its clips and their places in projects.

    Returns the game and the ids of its clips. Raises a 404 problem, and a 409 problem for a game with clips without
    ``cascade``.
    """
    game = required(connection, game_id)
    clips = [row["id"] for row in fetch_all(connection, "SELECT id FROM clips WHERE game_id = ?", (game_id,))]
    of_game = "(SELECT id FROM clips WHERE game_id = ?)"
    if clips and not cascade:
        reels = fetch_all(
            connection,
            f"""
            SELECT DISTINCT projects.name FROM projects JOIN project_clips ON project_id = projects.id
            WHERE clip_id IN {of_game} ORDER BY projects.name
            """,
            (game_id,),
        )
        named = ", ".join(repr(reel["name"]) for reel in reels[:3])
        used = f", and {len(reels)} projects use them ({named})" if reels else ""
        raise problems.CONFLICT.error(
            f"{len(clips)} clips are cut from this game{used}: delete them, or use ?cascade=true, which takes them out"
            " of the projects and ends the exports that are not finished"
        )
    execute(connection, f"DELETE FROM project_clips WHERE clip_id IN {of_game}", (game_id,))
    execute(connection, "DELETE FROM clips WHERE game_id = ?", (game_id,))
    execute(connection, "DELETE FROM games WHERE id = ?", (game_id,))
    return game, clips
