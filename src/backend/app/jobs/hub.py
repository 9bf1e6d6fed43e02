"""Events of jobs within this process, for WebSockets. A slow listener loses old events, never slows the work."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.context import UserContext
from app.jobs.models import Job, JobKind

QUEUE_LENGTH: Final = 32


class Hub:
    """Who listens to which profile's jobs of which kind."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[UserContext, JobKind], set[asyncio.Queue[Job]]] = {}

    def publish(self, context: UserContext, job: Job) -> None:
        """Tells every listener; where one is full its oldest event is dropped (each event is the whole state)."""
        for queue in self._listeners.get((context, job.kind), ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(job)

    @contextmanager
    def listen(self, context: UserContext, kind: JobKind) -> Iterator[asyncio.Queue[Job]]:
        """A queue of the events from now on."""
        queue: asyncio.Queue[Job] = asyncio.Queue(QUEUE_LENGTH)
        listeners = self._listeners.setdefault((context, kind), set())
        listeners.add(queue)
        try:
            yield queue
        finally:
            listeners.discard(queue)
            if not listeners:
                self._listeners.pop((context, kind), None)
