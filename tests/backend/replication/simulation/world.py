"""The simulated world: one bucket with latency, lost answers and errors, and Machines that crash and freeze."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from app.replication.core import Options
from app.replication.layout import FileRef, highest, parse_name
from app.replication.maintenance import Maintainer
from app.replication.replica import Replica
from app.replication.store import FileExists, Listed, NewFile, StoreError

EPOCH = 1_800_000_000.0
current_machine: contextvars.ContextVar[Machine | None] = contextvars.ContextVar("machine", default=None)


@dataclass
class Faults:
    """How unkind the store is: rates per request, and the spread of latencies in seconds."""

    lost_request: float = 0.0
    lost_answer: float = 0.0
    late_commit: float = 0.0
    error: float = 0.0
    latency: tuple[float, float] = (0.01, 0.2)


@dataclass
class Stored:
    data: bytes
    modified: float


@dataclass
class Bucket:
    """What the store holds; ``created`` remembers every level-0 create that was accepted, by name."""

    rnd: random.Random
    faults: Faults
    objects: dict[str, Stored] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    requests: set[int] = field(default_factory=set)
    skew: float = 0.0

    @property
    def date(self) -> float:
        return EPOCH + self.skew + asyncio.get_running_loop().time()

    def create(self, name: str, data: bytes) -> bool:
        if name in self.objects:
            return False
        self.objects[name] = Stored(data, self.date)
        if name.startswith("0000/"):
            self.created.append(name)
        return True

    def refs(self) -> list[FileRef]:
        found = [parse_name(name, len(stored.data), stored.modified) for name, stored in self.objects.items()]
        return sorted(ref for ref in found if ref)


class SimulatedStore:
    """One Machine's way to the bucket: three tries per call, as the real client has."""

    def __init__(self, bucket: Bucket, machine: Machine) -> None:
        self.bucket, self.machine = bucket, machine

    async def create(self, file: NewFile) -> float:
        accepted, date = await self._call(lambda: self.bucket.create(file.ref.name, file.data), writes=True)
        if not accepted:
            raise FileExists(file.ref.name)
        return date

    async def create_made(self, make: Callable[[], NewFile | None], made: Callable[[], None]) -> float | None:
        try:
            file = await self.machine.run(make)
        finally:
            # Before the file is on its way, or after it, but never later than this returns.
            early = self.bucket.rnd.random() < 0.5
            if early:
                made()
        try:
            return None if file is None else await self.create(file)
        finally:
            if not early:
                made()

    def has_room(self) -> bool:
        return self.bucket.rnd.random() < 0.7

    async def probe(self, ref: FileRef) -> tuple[bytes | None, float]:
        stored, date = await self._call(lambda: self.bucket.objects.get(ref.name))
        return (stored.data if stored else None), date

    async def list(self) -> Listed:
        refs, date = await self._call(self.bucket.refs)
        return Listed(refs, date)

    async def recent(self, early: Callable[[Sequence[FileRef]], None] | None = None) -> Listed:
        if early is not None:
            early([ref for ref in (await self.list()).files if ref.level])
        listed = await self.list()
        reached = highest(ref for ref in listed.files if ref.level)
        return Listed([ref for ref in listed.files if ref.level or ref.max_txid > reached], listed.date)

    async def request(self, node: int) -> None:
        await self._call(lambda: self.bucket.requests.add(node))

    async def take_request(self, node: int) -> bool:
        def take() -> bool:
            wanted = node in self.bucket.requests
            self.bucket.requests.discard(node)
            return wanted

        return bool((await self._call(take))[0])

    async def legacy(self) -> bytes | None:
        stored, _ = await self._call(lambda: self.bucket.objects.get("legacy"))
        return stored.data if stored else None

    async def delete(self, refs: Sequence[FileRef]) -> None:
        for ref in refs:
            await self._call(lambda: self.bucket.objects.pop(ref.name, None))  # noqa: B023

    async def _call(self, act: Callable[[], Any], *, writes: bool = False) -> tuple[Any, float]:
        for _ in range(3):
            try:
                return await self._try(act, writes)
            except StoreError as error:
                last = error
        raise last

    async def _try(self, act: Callable[[], Any], writes: bool) -> tuple[Any, float]:
        rnd, faults, loop = self.bucket.rnd, self.bucket.faults, asyncio.get_running_loop()
        arrived: asyncio.Future[tuple[Any, float]] = loop.create_future()

        def commit() -> None:
            # The request is on the wire: it lands whether or not the Machine that sent it still lives.
            answer = (act(), self.bucket.date)
            if not arrived.done():
                arrived.set_result(answer)

        there, back = (rnd.uniform(*faults.latency) / 2 for _ in range(2))
        deadline = 2.0
        kind = rnd.random()
        if kind < faults.error:
            await self.machine.sleep(there + back)
            raise StoreError("503")
        if kind < faults.error + faults.lost_request:
            await self.machine.sleep(deadline)
            raise StoreError("no answer")
        if writes and kind < faults.error + faults.lost_request + faults.late_commit:
            loop.call_later(deadline + rnd.uniform(0, 8), commit)
            await self.machine.sleep(deadline)
            raise StoreError("no answer")
        loop.call_later(there, commit)
        answer = await arrived
        await self.machine.sleep(back)
        if rnd.random() < faults.lost_answer:
            await self.machine.sleep(deadline)
            raise StoreError("the answer was lost")
        return answer


class Table:
    """The schema of the simulated app."""

    def is_behind(self, connection: apsw.Connection) -> bool:
        return int(connection.pragma("user_version")) < 1

    def migrate(self, connection: apsw.Connection) -> None:
        if self.is_behind(connection):
            connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, pad)")
            connection.pragma("user_version", 1)


class Machine:
    """A process on a Machine: it may crash (its tasks end) or freeze (its tasks stand still, and so does its clock)."""

    count = 0

    def __init__(self, bucket: Bucket, folder: Path, options: Options, make: Callable[..., Replica] = Replica) -> None:
        Machine.count += 1
        self.number = Machine.count
        self.name = f"m{self.number}"
        self.bucket, self.alive, self.folder = bucket, True, folder
        self.tasks: set[asyncio.Task[Any]] = set()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._frozen_at = 0.0
        self._stood = 0.0
        self.wall_error = bucket.rnd.uniform(-40 * 86400, 40 * 86400)
        self.replica = make(
            SimulatedStore(bucket, self),
            folder / "database.sqlite",
            bucket.rnd.getrandbits(64),
            options,
            Table(),
            run=self.run,
            now=self.monotonic,
            wall_ms=lambda: int((EPOCH + self.wall_error + self.monotonic()) * 1000),
        )
        self.maintainer = Maintainer(self.replica)

    def monotonic(self) -> float:
        """Stands still while the Machine is frozen, as after a suspend."""
        now = asyncio.get_running_loop().time() if self._thawed.is_set() else self._frozen_at
        return now - self._stood

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._thawed.wait()

    async def run(self, work: Callable[[], Any]) -> Any:
        await self.sleep(self.bucket.rnd.uniform(0, 0.002))
        try:
            return work()
        finally:
            await self.sleep(self.bucket.rnd.uniform(0, 0.002))

    def start(self, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine as this Machine; it and all tasks that it starts end in a crash."""
        context = contextvars.copy_context()
        context.run(current_machine.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def freeze(self) -> None:
        if self._thawed.is_set():
            self._frozen_at = asyncio.get_running_loop().time()
            self._thawed.clear()

    def thaw(self) -> None:
        if not self._thawed.is_set():
            self._stood += asyncio.get_running_loop().time() - self._frozen_at
            self._thawed.set()

    async def crash(self) -> None:
        self.alive = False
        self._thawed.set()
        while self.tasks:
            for task in list(self.tasks):
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.replica.database:
            self.replica.database.close()


def task_factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """Tasks belong to the Machine in whose context they were made."""
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    context = options.get("context")
    machine = context.get(current_machine) if context else current_machine.get()
    if machine is not None:
        machine.tasks.add(task)
        task.add_done_callback(machine.tasks.discard)
    return task
