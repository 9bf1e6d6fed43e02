"""A busy writer and someone beside it, in virtual time: how long, or how many calls, until the other one is served."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.backend.replication.simulation.clients import GIVING_WAY
from tests.backend.replication.simulation.loop import VirtualLoop
from tests.backend.replication.simulation.world import Bucket, Faults, Machine

from app.replication.log import Options

T = TypeVar("T")
# No one waits longer.
PATIENCE = 120.0
_PAUSE = 1.0


def played(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Its result, in virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work())
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


class Busy:
    """Machines that share a bucket whose calls take ``latency`` seconds; rows are numbered as they are written."""

    def __init__(self, folder: Path, latency: tuple[float, float], options: Options) -> None:
        self.bucket = Bucket(random.Random(1), Faults(latency=latency))
        self._folder, self._options, self._row = folder, options, 0

    def machine(self) -> Machine:
        return Machine(self.bucket, self._folder / f"disk{Machine.count}", self._options)

    async def write(self, machine: Machine) -> None:
        """One row; repeated as a client repeats it, until it is kept."""
        while True:
            self._row += 1
            row = self._row
            try:
                _, ticket = await machine.replica.write(lambda c: c.execute("INSERT INTO row VALUES (?, 'x')", (row,)))  # noqa: B023
                await machine.replica.settle(ticket)
                return
            except GIVING_WAY:
                await asyncio.sleep(_PAUSE)

    async def read(self, machine: Machine) -> None:
        while True:
            try:
                _, ticket = await machine.replica.read(lambda c: c.execute("SELECT count(*) FROM row").get)
                await machine.replica.settle(ticket)
                return
            except GIVING_WAY:
                await asyncio.sleep(_PAUSE)

    async def keep_busy(self, machine: Machine, clients: int, think: float = 0.0) -> list[asyncio.Task[None]]:
        """Clients that write one row after the other; returns when they are at it."""

        async def client() -> None:
            while True:
                await self.write(machine)
                await asyncio.sleep(self.bucket.rnd.uniform(0, think))

        await self.write(machine)
        tasks = [asyncio.ensure_future(client()) for _ in range(clients)]
        await asyncio.sleep(3)
        return tasks

    async def took(self, work: Awaitable[None]) -> float:
        """Seconds until the work was done; infinity where no one waits any longer."""
        loop = asyncio.get_running_loop()
        started, task = loop.time(), asyncio.ensure_future(work)
        await asyncio.wait((task,), timeout=PATIENCE)
        return loop.time() - started if task.done() and task.exception() is None else math.inf
