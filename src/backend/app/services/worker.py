"""The interface of workers, which run jobs, and the error of a failed job."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from app.jobs.models import Job, JobKind
from app.storage.interface import ObjectMissing, ObjectStore
from reel.payloads import ExtractClip, RenderReel


class Report(Protocol):
    """Stores the progress of a job with the next renewal of its lease."""

    async def __call__(self, progress: float, phase: str, checkpoint: str | None = None, /) -> None: ...


class WorkFailed(Exception):
    """The job failed; the message becomes the reason in the job's row."""


@dataclass(frozen=True)
class Work:
    """A claimed job. `report` stores progress and phase, and a checkpoint if the work can go on from one; `note_call`
    stores the id of a Modal call. Both are in the job's row."""

    job: Job
    report: Report
    note_call: Callable[[str | None], Awaitable[None]]


async def result_in_bucket(store: ObjectStore, job: Job) -> dict[str, Any] | None:
    """The result of a job whose object is stored; None if it is not.

    The key belongs to this job alone, its payload never changes, and objects are created atomically. So an object at
    that key is the complete result.
    """
    if job.kind is JobKind.EXPORT:
        reel = RenderReel.from_dict(job.payload)
        key, duration_s = reel.output_key, reel.duration_s
    else:
        clip = ExtractClip.from_dict(job.payload)
        key, duration_s = clip.output_key, clip.end_s - clip.start_s
    try:
        stored = await store.head(key)
    except ObjectMissing:
        return None
    return {"output_key": key, "size_bytes": stored.size, "duration_s": duration_s}


async def delete_result(store: ObjectStore, job: Job) -> None:
    """Delete the job's output file."""
    await store.delete(job.payload["output_key"])


class Worker(Protocol):
    """Runs jobs. `limit` is how many run at a time; previews and other jobs are counted separately."""

    limit: int

    async def run(self, work: Work) -> dict[str, Any]:
        """Run the job and return its result (of reel.payloads) as a dict when the object is stored.

        Raises WorkFailed, StorageError, ReelError. Cancellation ends local work; a call on Modal continues.
        """
        ...

    async def discard(self, job: Job) -> None:
        """Delete the file of a job whose row was deleted while it ran. Raises StorageError."""
        ...

    async def abandon(self, job: Job) -> None:
        """End the Modal call of a job that has ended, and delete its pieces. Raises WorkFailed."""
        ...
