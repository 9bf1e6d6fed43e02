"""The simulated world: one bucket, how unkind it is, and Machines that crash and freeze."""

from __future__ import annotations

import asyncio
import contextvars
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import apsw
from tests.backend.replication.simulation.clock import Clock, WallClock
from tests.backend.replication.simulation.store import SimulatedStore

from app.db.schema import NewerSchema
from app.replication.layout import EMPTIED, SNAPSHOT, FileRef, highest, parse_name
from app.replication.log import Options
from app.replication.ltx import read_header
from app.replication.maintenance import Maintainer
from app.replication.replica import Replica

EPOCH = 1_800_000_000.0
current_machine: contextvars.ContextVar[Machine | None] = contextvars.ContextVar("machine", default=None)


@dataclass
class Faults:
    """How unkind the store is: rates per request, the spread of latencies in seconds, and the ``window``: seconds
    after a write to a key in which another one to it is refused with 429, as R2 does."""

    lost_request: float = 0.0
    lost_answer: float = 0.0
    late_commit: float = 0.0
    error: float = 0.0
    rate_limit: float = 0.0
    latency: tuple[float, float] = (0.01, 0.2)
    window: float = 0.0

    @property
    def none(self) -> bool:
        return not any(
            (self.lost_request, self.lost_answer, self.late_commit, self.error, self.rate_limit, self.window)
        )


@dataclass
class Stored:
    """``ref`` is None where the name is no file's."""

    data: bytes
    ref: FileRef | None


@dataclass
class Bucket:
    """What the store holds. ``created`` has every level-0 file that was accepted, in order; ``unfenced`` those that
    were created once more although no snapshot lies over them; ``history`` the first of each name, deleted or not.
    ``counts`` says what else was done, ``takers`` are the Machines that made a first file of the whole-file database,
    ``owner`` is the Machine that the newest file names, ``skew`` is the time that was skipped, ``down`` what only fails
    now."""

    rnd: random.Random
    faults: Faults
    objects: dict[str, Stored] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    unfenced: list[str] = field(default_factory=list)
    history: dict[str, bytes] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    takers: set[str] = field(default_factory=set)
    owner: str = ""
    skew: float = 0.0
    down: frozenset[str] = frozenset()
    _pages: int = 0
    _written: dict[str, float] = field(default_factory=dict)

    @property
    def date(self) -> float:
        return EPOCH + self.skew + asyncio.get_running_loop().time()

    def create(self, name: str, data: bytes) -> bool:
        if name in self.objects:
            return False
        ref = parse_name(name, len(data), self.date)
        self.objects[name] = Stored(data, ref)
        if ref is not None and ref.level:
            self.counts["snapshots" if ref.level == SNAPSHOT else "merges"] += 1
        elif ref is not None:
            if name in self.created and ref.max_txid > highest(r for r in self.refs() if r.level == SNAPSHOT):
                self.unfenced.append(name)
            self.created.append(name)
            machine = ""
            if data != EMPTIED:
                header = read_header(data)
                self.counts["shrinks"] += header.commit < self._pages
                self._pages, machine = header.commit, header.machine
            if ref.max_txid == highest(r for r in self.refs() if r.level == 0):
                # The fence of a deletion names no Machine, and a file behind one that was created ahead is not newest.
                self.owner = machine
            self.history.setdefault(name, data)
        return True

    def empty(self, name: str, data: bytes) -> None:
        """Overwrite an object, as only a deletion does."""
        self.objects[name] = Stored(data, parse_name(name, len(data), self.date))

    def delete(self, name: str) -> None:
        if self.objects.pop(name, None) is not None:
            self.counts["deletions"] += 1

    def too_soon(self, name: str) -> bool:
        """Whether a write to ``name`` comes too soon after the last one; where it does not, it counts as one itself."""
        now = asyncio.get_running_loop().time()
        if now - self._written.get(name, -math.inf) < self.faults.window:
            return True
        self._written[name] = now
        return False

    def refs(self) -> list[FileRef]:
        return sorted(stored.ref for stored in self.objects.values() if stored.ref)


class Table:
    """The schema of the simulated app as the release ``version`` knows it; the second one has a table more."""

    def __init__(self, version: int = 1) -> None:
        self.version = version

    def is_behind(self, connection: apsw.Connection) -> bool:
        found = version_of(connection)
        if found > self.version:
            raise NewerSchema(found, self.version)
        return found < self.version

    def migrate(self, connection: apsw.Connection) -> None:
        if not self.is_behind(connection):
            return
        if version_of(connection) < 1:
            connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, pad)")
        if self.version > 1:
            connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY)")
        connection.pragma("user_version", self.version)


def version_of(connection: apsw.Connection) -> int:
    return int(connection.pragma("user_version"))


class Machine:
    """A process on a Machine: it may crash (its tasks end) or freeze (its tasks stand still, and so does its clock)."""

    count = 0

    def __init__(
        self,
        bucket: Bucket,
        folder: Path,
        options: Options,
        make: Callable[..., Replica] = Replica,
        version: int = 1,
        *,
        named: bool = False,
    ) -> None:
        Machine.count += 1
        self.number = Machine.count
        self.name = f"m{self.number}"
        self.bucket, self.alive, self.folder = bucket, True, folder
        self.tasks: set[asyncio.Task[Any]] = set()
        self._frozen_at = 0.0
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.clock = Clock()
        self.wall = WallClock(bucket.rnd.uniform(-40 * 86400, 40 * 86400))
        self.store, self.version = SimulatedStore(bucket, self), version
        if named:
            options = replace(options, machine=self.name)
        self.replica = make(
            self.store,
            folder / "database.sqlite",
            bucket.rnd.getrandbits(64),
            options,
            Table(version),
            run=self.run,
            now=self.monotonic,
            wall_ms=lambda: int((EPOCH + self.wall.now()) * 1000),
        )
        self.maintainer = Maintainer(self.replica)

    def monotonic(self) -> float:
        """Stands still while the Machine is frozen, as after a suspend."""
        return self.clock.now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._thawed.wait()

    async def run(self, work: Callable[[], Any]) -> Any:
        rnd = self.bucket.rnd
        if rnd.random() < 0.5:
            await self.sleep(rnd.uniform(0, 0.002))
        try:
            return work()
        finally:
            await self.sleep(rnd.uniform(0, 0.002))

    def start(self, work: Any) -> asyncio.Task[Any]:
        """Run a coroutine as this Machine; it and all tasks that it starts end in a crash."""
        context = contextvars.copy_context()
        context.run(current_machine.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def freeze(self) -> None:
        if self.awake:
            self._frozen_at = asyncio.get_running_loop().time()
        self.clock.stop()
        self._thawed.clear()

    def thaw(self) -> None:
        """The wall clock mostly has run on; sometimes it goes on where it stood."""
        if not self._thawed.is_set() and self.bucket.rnd.random() < 0.3:
            self.wall.jump(self._frozen_at - asyncio.get_running_loop().time())
        self.clock.start()
        self._thawed.set()

    async def stop(self) -> None:
        """End in order: what is under way ends, and what this Machine owns is released."""
        await self.replica.close(release_seconds=20.0)
        await self.crash()

    @property
    def awake(self) -> bool:
        return self.alive and self._thawed.is_set()

    async def crash(self) -> None:
        self.alive = False
        self._thawed.set()
        while self.tasks:
            for task in list(self.tasks):
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.replica.copy.database:
            self.replica.copy.database.close()


def task_factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """Tasks belong to the Machine in whose context they were made."""
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
    context = options.get("context")
    machine = context.get(current_machine) if context else current_machine.get()
    if machine is not None:
        machine.tasks.add(task)
        task.add_done_callback(machine.tasks.discard)
    return task
