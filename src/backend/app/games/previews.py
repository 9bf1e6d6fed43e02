"""A small copy of a game for browsers that cannot play its video (HEVC, ProRes, MPEG-2, AVI, …).

It is created when a page asks for it, as an extraction of the whole game. So it has the same size, colours and frames
as the clips, and a GPU deploy that can cut clips can make previews too. It is stored beside the source and deleted with
it.
"""

from typing import Final

import apsw

from app import problems
from app.games import rows
from app.jobs import rows as job_rows
from app.jobs.models import Job, JobKind, JobStatus
from app.storage.keys import ProfileKeys
from reel.payloads import ExtractClip, PayloadError

MAX_BYTES: Final = 384 * 1024 * 1024
"""About the size of the preview of a very long game; others are smaller (a game of 10 minutes has some 70 MB)."""


def begin(connection: apsw.Connection, job_id: str, game_id: str, keys: ProfileKeys) -> Job:
    """The preview's job, where one is under way or complete, or a new one with the id ``job_id``.

    Raises a 404 problem, and a 409 problem where the game is not ready.
    """
    game = rows.required_ready(connection, game_id)
    earlier = job_rows.of_kind(connection, JobKind.PREVIEW, game_id)
    for job in earlier:
        if not job.status.over or job.status is JobStatus.COMPLETE:
            return job
    try:
        payload = ExtractClip(
            source_key=keys.game_source(game_id, game["extension"]),
            output_key=keys.game_preview(game_id, len(earlier)),
            start_s=0.0,
            end_s=game["duration_s"],
            quality="draft",
            max_bytes=MAX_BYTES,
        )
    except PayloadError as error:
        raise problems.INVALID.error(f"The game has no preview: {error}") from error
    return job_rows.create(connection, job_id, JobKind.PREVIEW, game_id, payload.to_dict())


def end(connection: apsw.Connection, game_id: str) -> list[Job]:
    """Cancels the previews and inspections of a game that is deleted; returns those that were unfinished, as they
    were."""
    return [
        job
        for kind in (JobKind.PREVIEW, JobKind.INSPECTION)
        for job in job_rows.of_kind(connection, kind, game_id)
        if not job.status.over and job_rows.cancel(connection, job.id)
    ]
