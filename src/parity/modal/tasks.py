"""The scheduler's records of containers and of function queues."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from modal_proto import api_pb2 as pb

from parity.modal.callbook import Input


@dataclass(eq=False)
class Task:
    """A container, from the order to start it until its process ended."""

    id: str
    function_id: str
    running: dict[str, Input] = field(default_factory=dict)
    to_cancel: list[str] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    fetched: bool = False  # it has asked for an input: its start succeeded
    draining: bool = False
    start_error: pb.GenericResult | None = None


@dataclass(eq=False)
class Pool:
    """One function's waiting inputs."""

    queue: deque[Input] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    failed_starts: int = 0

    def notify(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def waiting(self) -> int:
        while self.queue and self.queue[0].state == "done":
            self.queue.popleft()
        return len(self.queue)
