"""Chooses the worker for the jobs of this process, and stores the result of a job."""

from typing import Any

import apsw

from app.clips import rows as clip_rows
from app.core import Core
from app.games import rows as game_rows
from app.games.inspections import WithInspections
from app.jobs import rows
from app.jobs.models import Job, JobKind
from app.services.local_worker import LocalWorker
from app.services.modal_client import ModalClient
from app.services.modal_worker import ModalWorker
from app.services.worker import Worker
from app.version import commit


def make_worker(core: Core) -> Worker:
    """Modal if MODAL_ENABLED is true, else ffmpeg on this Machine. Inspections always run on this Machine."""
    settings = core.settings
    folder = settings.user_data_dir / ".work"
    here = LocalWorker(core.store, folder, settings.ffmpeg_seconds, commit(settings))
    renders: Worker = here
    if core.gpu is not None:
        renders = ModalWorker(core.store, ModalClient(settings), settings.ffmpeg_seconds, gpu=core.gpu, machine=here)
    return WithInspections(renders, core.store, folder)


def finish(connection: apsw.Connection, job: Job, owner: str, result: dict[str, Any]) -> None:
    """Store the result: the job is complete, and its clip has a file or its game is ready. Changes nothing if the job
    no longer belongs to `owner`."""
    if not rows.complete(connection, job.id, owner, result):
        return
    if job.kind is JobKind.INSPECTION and "facts" in result:
        game_rows.set_ready(connection, job.subject_id, result["facts"])
    elif job.kind is JobKind.EXTRACTION:
        bounds = job.payload["start_s"], job.payload["end_s"]
        clip_rows.set_extracted(connection, job.subject_id, *bounds, result["duration_s"])
