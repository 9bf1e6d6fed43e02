"""Rows of clips."""

from apsw import Connection

from app import problems
from app.db.rows import Row, execute, fetch_all, fetch_one, insert
from app.games import rows as game_rows
from app.timestamps import now
from reel.payloads import MAX_REEL_SECONDS, MIN_SPAN_SECONDS

_SELECT = """
    SELECT clips.*, games.extension AS game_extension, games.duration_s AS game_duration_s,
        (SELECT status FROM jobs WHERE kind = 'extraction' AND subject_id = clips.id
            ORDER BY created_at DESC, rowid DESC LIMIT 1) AS job_status,
        (SELECT reason FROM jobs WHERE kind = 'extraction' AND subject_id = clips.id
            ORDER BY created_at DESC, rowid DESC LIMIT 1) AS job_reason,
        (SELECT result FROM jobs WHERE kind = 'extraction' AND subject_id = clips.id AND status = 'complete'
            ORDER BY created_at DESC, rowid DESC LIMIT 1) AS job_result
    FROM clips JOIN games ON games.id = clips.game_id
"""


def create(connection: Connection, clip_id: str, *, game_id: str, name: str, start: float, end: float) -> Row:
    """A new clip, bounds in seconds. Raises a 404, 409 or 422 problem."""
    game = game_rows.required_ready(connection, game_id)
    check_bounds(start, end, game["duration_s"])
    stamp = now()
    row: Row = {"id": clip_id, "game_id": game_id, "name": name, "start_s": start, "end_s": end}
    insert(connection, "clips", {**row, "created_at": stamp, "updated_at": stamp})
    return required(connection, clip_id)


def required(connection: Connection, clip_id: str) -> Row:
    """The clip; raises a 404 problem."""
    found = find(connection, clip_id)
    if found is None:
        raise problems.NOT_FOUND.error(f"There is no clip {clip_id!r} in this profile")
    return found


def find(connection: Connection, clip_id: str) -> Row | None:
    return fetch_one(connection, f"{_SELECT} WHERE clips.id = ?", (clip_id,))


def everything(connection: Connection, game_id: str | None) -> list[Row]:
    """All clips, or those of one game; newest first."""
    return fetch_all(
        connection,
        f"{_SELECT} WHERE :game IS NULL OR clips.game_id = :game ORDER BY clips.created_at DESC, clips.rowid DESC",
        {"game": game_id},
    )


def change(
    connection: Connection,
    clip_id: str,
    *,
    name: str | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Row:
    """Changes what is given and nothing else; a clip whose bounds move is no longer extracted. Raises a 404 or 422
    problem."""
    before = required(connection, clip_id)
    execute(
        connection,
        """
        UPDATE clips SET name = coalesce(?, name), start_s = coalesce(?, start_s), end_s = coalesce(?, end_s),
            updated_at = ? WHERE id = ?
        """,
        (name, start, end, now(), clip_id),
    )
    after = required(connection, clip_id)
    if (after["start_s"], after["end_s"]) == (before["start_s"], before["end_s"]):
        return after
    check_bounds(after["start_s"], after["end_s"], after["game_duration_s"])
    execute(connection, "UPDATE clips SET extracted_s = NULL WHERE id = ?", (clip_id,))
    return required(connection, clip_id)


def check_bounds(start: float, end: float, duration: float) -> None:
    """Raises a 422 problem unless the bounds are a valid span of a game of this duration. All in seconds."""
    if end - start < MIN_SPAN_SECONDS:
        raise problems.INVALID.error(
            f"body.end: expected at least {MIN_SPAN_SECONDS} s after start {start:g}, got {end:g}"
        )
    if end > duration + 0.001:
        raise problems.INVALID.error(f"body.end: the game ends at {duration:.3f} s, got {end:g}")
    if end - start > MAX_REEL_SECONDS:
        raise problems.INVALID.error(f"body.end: a clip lasts at most {MAX_REEL_SECONDS:g} s, got {end - start:g}")


def set_extracted(connection: Connection, clip_id: str, start_s: float, end_s: float, duration_s: float) -> None:
    """Records a finished extraction, unless the clip's bounds were changed meanwhile."""
    execute(
        connection,
        "UPDATE clips SET extracted_s = ?, updated_at = ? WHERE id = ? AND start_s = ? AND end_s = ?",
        (duration_s, now(), clip_id, start_s, end_s),
    )


def delete(connection: Connection, clip_id: str, *, cascade: bool = False) -> None:
    """Deletes a clip, and with ``cascade`` its places in projects. Raises a 404 problem, and without ``cascade`` a 409
    problem while a project uses the clip."""
    required(connection, clip_id)
    found = fetch_all(
        connection,
        """
        SELECT DISTINCT projects.id, projects.name FROM projects JOIN project_clips ON project_id = projects.id
        WHERE clip_id = ? ORDER BY projects.id
        """,
        (clip_id,),
    )
    if found and not cascade:
        named = ", ".join(f"{row['name']!r} ({row['id']})" for row in found[:3])
        raise problems.CONFLICT.error(
            f"The clip is used by {len(found)} projects: {named}; take it out of them, or use ?cascade=true, which does"
        )
    execute(connection, "DELETE FROM project_clips WHERE clip_id = ?", (clip_id,))
    execute(connection, "DELETE FROM clips WHERE id = ?", (clip_id,))
