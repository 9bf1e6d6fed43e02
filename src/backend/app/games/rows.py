"""Rows of games."""

from typing import Any

import apsw

from app import problems
from app.db.rows import Row, execute, fetch_all, fetch_one, insert
from app.timestamps import now

# With the newest preview and the newest inspection of each game. `state` is what the API shows: the row of a game stays
# `uploading` until it is ready (`m0004`).
_SELECT = """
    SELECT games.*, preview.status AS preview_status, preview.progress AS preview_progress,
        preview.reason AS preview_reason, preview.result AS preview_result,
        CASE WHEN games.status = 'ready' THEN 'ready' WHEN inspection.status IS NULL THEN 'uploading'
            WHEN inspection.status IN ('pending', 'processing') THEN 'inspecting'
            WHEN inspection.status = 'complete' THEN 'refused' ELSE 'failed' END AS state,
        coalesce(inspection.reason, inspection.result ->> '$.refused') AS reason, inspection.progress AS progress
    FROM games
    LEFT JOIN jobs AS preview ON preview.rowid = (
        SELECT max(rowid) FROM jobs WHERE kind = 'extraction' AND preview AND subject_id = games.id)
    LEFT JOIN jobs AS inspection ON inspection.rowid = (
        SELECT max(rowid) FROM jobs WHERE kind = 'extraction' AND inspection AND subject_id = games.id)
"""
_IS_OPEN = """
    status = 'uploading'
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE kind = 'extraction' AND inspection AND subject_id = games.id)
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


def required_ready(connection: apsw.Connection, game_id: str) -> Row:
    """The game, whose video was looked at; raises a 404 problem, and a 409 problem that says why it is not ready."""
    game = required(connection, game_id)
    if game["state"] != "ready":
        why = {
            "uploading": f"The upload of game {game_id!r} is not finished: finalize it first",
            "inspecting": f"Game {game_id!r} is still being inspected: try again when its status is ready",
            "refused": f"Game {game_id!r} cannot be used: {game['reason']}; delete it",
            "failed": f"Game {game_id!r} could not be inspected: {game['reason']}; finalize its upload again",
        }
        raise problems.CONFLICT.error(why[game["state"]])
    return game


def unfinished_since(connection: apsw.Connection, since: str) -> list[str]:
    """The ids of games whose upload was not finished, and did not go on after this moment."""
    found = fetch_all(connection, f"SELECT id FROM games WHERE {_IS_OPEN} AND updated_at < ?", (since,))
    return [row["id"] for row in found]


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
    if not execute(connection, f"UPDATE games SET updated_at = ? WHERE id = ? AND {_IS_OPEN}", (now(), game_id)):
        required(connection, game_id)
        raise problems.CONFLICT.error(f"The upload of game {game_id!r} is finished")
    return required(connection, game_id)


def begin_finish(connection: apsw.Connection, game_id: str) -> Row:
    """The game, whose upload the sweep leaves alone while it is looked at. Raises a 404 problem."""
    execute(connection, f"UPDATE games SET updated_at = ? WHERE id = ? AND {_IS_OPEN}", (now(), game_id))
    return required(connection, game_id)


def touch(connection: apsw.Connection, game_id: str) -> None:
    """The upload has ended now (`uploads.urls_expire_after`)."""
    execute(connection, "UPDATE games SET updated_at = ? WHERE id = ?", (now(), game_id))


def set_ready(connection: apsw.Connection, game_id: str, facts: dict[str, Any]) -> None:
    """Ends the upload with what was found in the video. Whatever ended it first wins."""
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


def discard(connection: apsw.Connection, game_id: str, since: str | None = None) -> bool:
    """Deletes a game whose upload cannot be used; False if the upload was finished or the game deleted meanwhile. With
    ``since``, also if the upload went on after that moment."""
    return bool(
        execute(
            connection,
            f"DELETE FROM games WHERE id = :id AND {_IS_OPEN} AND (:since IS NULL OR updated_at < :since)",
            {"id": game_id, "since": since},
        )
    )


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
