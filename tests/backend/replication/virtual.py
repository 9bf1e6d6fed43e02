"""Machines on one simulated bucket in virtual time: what the tests of contention, upgrades and failures share."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import apsw
from tests.backend.replication.simulation.loop import VirtualLoop
from tests.backend.replication.simulation.world import Bucket, Faults, Machine

from app.replication.copy import Schema
from app.replication.errors import Lost
from app.replication.log import Options

T = TypeVar("T")


def play(run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it to its end; the clock jumps to whatever is due next. What is under way then ends as in a crash."""

    async def whole() -> T:
        try:
            return await run()
        finally:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(whole())
    finally:
        loop.close()


def bucket(low: float = 0.1, high: float = 0.1) -> Bucket:
    """An empty one that answers within so many seconds and never fails."""
    return Bucket(random.Random(1), Faults(latency=(low, high)))


def machine(bucket: Bucket, folder: Path, schema: Schema | None = None, **options: Any) -> Machine:
    made = Machine(bucket, folder, Options(**options))
    if schema is not None:
        made.replica.copy.schema = schema
    return made


async def execute(on: Machine, statement: str, bindings: tuple[object, ...] = ()) -> None:
    """A write that is acknowledged."""

    def change(connection: apsw.Connection) -> None:
        connection.execute(statement, bindings)

    _, ticket = await on.replica.write(change)
    await on.replica.settle(ticket)


async def insert(on: Machine, row: int) -> None:
    await execute(on, "INSERT INTO row VALUES (?, 'x')", (row,))


async def insist(on: Machine, row: int) -> None:
    """A write as a client does it: one that is answered with a conflict is repeated."""
    for _ in range(5):
        with contextlib.suppress(Lost):
            return await insert(on, row)
        await asyncio.sleep(1.0)
    raise AssertionError(f"row {row} was refused five times")


async def select(on: Machine, query: str) -> list[Any]:
    """The first column of what a settled read shows."""
    found, ticket = await on.replica.read(lambda connection: [row[0] for row in connection.execute(query)])
    await on.replica.settle(ticket)
    return found


class Clients:
    """Closed loops of writes on one Machine, each as fast as it is answered, for as long as the context."""

    def __init__(self, on: Machine, count: int) -> None:
        self.on, self.count = on, count
        self.acknowledged: set[int] = set()
        self.refused = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def _client(self, number: int) -> None:
        for turn in range(1_000_000):
            row = 1_000_000 * (number + 1) + turn
            try:
                await insert(self.on, row)
            except Exception:  # noqa: BLE001 - counted; what may be refused is for the test to say
                self.refused += 1
                await asyncio.sleep(1.0)
            else:
                self.acknowledged.add(row)

    async def __aenter__(self) -> Clients:
        self._tasks = [asyncio.ensure_future(self._client(number)) for number in range(self.count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
