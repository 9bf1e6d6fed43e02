"""What a job's work may ask for, and how it fails."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from app.jobs.models import Job, JobKind
from app.storage.interface import ObjectMissing, ObjectStore
from reel.payloads import ExtractClip, RenderReel


class WorkFailed(Exception):
    """The work cannot be done; the message is the reason that the job's row gets."""


@dataclass(frozen=True)
class Work:
    """One claimed job, with the ways back to its row."""

    job: Job
    report: Callable[[float, str], Awaitable[None]]
    note_call: Callable[[str | None], Awaitable[None]]


async def result_in_bucket(store: ObjectStore, job: Job) -> dict[str, Any] | None:
    """The result of a job whose object is stored, None where it is not.

    Each job has a key and a payload of its own that never change, and objects appear whole: what is there is what was
    wanted.
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
    """Deletes the file that the job has stored."""
    await store.delete(job.payload["output_key"])


class Worker(Protocol):
    """Carries out jobs; `limit` is how many at a time, previews and others counted apart."""

    limit: int

    async def run(self, work: Work) -> dict[str, Any]:
        """The result (of reel.payloads) as a dict, once the object is stored.

        Raises WorkFailed, StorageError, ReelError. Cancelling ends local work; what runs elsewhere goes on.
        """
        ...

    async def discard(self, job: Job) -> None:
        """Deletes the file of a job that ended after its row was deleted. Raises StorageError."""
        ...

    async def abandon(self, job: Job) -> None:
        """Ends what a cancelled job has running elsewhere."""
        ...
