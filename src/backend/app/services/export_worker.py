"""Chooses the worker for the jobs of this process, and stores the result of a job."""

from typing import Any

import apsw

from app.clips import rows as clip_rows
from app.core import Core
from app.jobs import rows
from app.jobs.models import Job, JobKind
from app.services.local_worker import LocalWorker
from app.services.modal_client import ModalClient
from app.services.modal_worker import ModalWorker
from app.services.worker import Worker
from app.version import commit


def make_worker(core: Core) -> Worker:
    """Modal where MODAL_ENABLED, else ffmpeg here."""
    settings = core.settings
    here = LocalWorker(core.store, settings.user_data_dir / ".work", settings.ffmpeg_seconds, commit(settings))
    if core.gpu is None:
        return here
    return ModalWorker(core.store, ModalClient(settings), settings.ffmpeg_seconds, gpu=core.gpu, machine=here)


def finish(connection: apsw.Connection, job: Job, owner: str, result: dict[str, Any]) -> None:
    """The job is complete; a clip has its file. Nothing changes when the job is no longer `owner`'s."""
    if rows.complete(connection, job.id, owner, result) and job.kind is JobKind.EXTRACTION:
        bounds = job.payload["start_s"], job.payload["end_s"]
        clip_rows.set_extracted(connection, job.subject_id, *bounds, result["duration_s"])
