"""Sends the events of jobs in this process to WebSockets. A slow listener loses old events and does not delay jobs."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.context import UserContext
from app.jobs.models import Job, JobKind

QUEUE_LENGTH: Final = 32


class Hub:
    """The listeners of each profile and kind of job."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[UserContext, JobKind], set[asyncio.Queue[Job]]] = {}

    def publish(self, context: UserContext, job: Job) -> None:
        """Send an event to every listener. A full queue drops its oldest event, as each event has the whole state."""
        for queue in self._listeners.get((context, job.kind), ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(job)

    @contextmanager
    def listen(self, context: UserContext, kind: JobKind) -> Iterator[asyncio.Queue[Job]]:
        """Yields a queue that receives all events from now on."""
        queue: asyncio.Queue[Job] = asyncio.Queue(QUEUE_LENGTH)
        listeners = self._listeners.setdefault((context, kind), set())
        listeners.add(queue)
        try:
            yield queue
        finally:
            listeners.discard(queue)
            if not listeners:
                self._listeners.pop((context, kind), None)
