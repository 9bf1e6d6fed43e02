"""What a job's work may ask for, and how it fails."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from app.jobs.models import Job


class WorkFailed(Exception):
    """The work cannot be done; the message is the reason that the job's row gets."""


@dataclass(frozen=True)
class Work:
    """One claimed job, with the ways back to its row."""

    job: Job
    report: Callable[[float, str], Awaitable[None]]
    note_call: Callable[[str | None], Awaitable[None]]


class Worker(Protocol):
    """Carries out jobs; `limit` is how many at a time."""

    limit: int

    async def run(self, work: Work) -> dict[str, Any]:
        """The result (of reel.payloads) as a dict, once the object is stored.

        Raises WorkFailed, StorageError, ReelError. Cancelling ends local work; what runs elsewhere goes on.
        """
        ...

    async def abandon(self, job: Job) -> None:
        """Ends what a cancelled job has running elsewhere."""
        ...
