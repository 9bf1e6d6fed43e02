"""One seeded run: clients, Machines that come and go, a store that fails; and what must hold at the end."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import apsw
from tests.backend.replication.simulation.loop import VirtualLoop
from tests.backend.replication.simulation.world import Bucket, Faults, Machine, task_factory

from app.replication.core import Options
from app.replication.layout import SNAPSHOT, GapError, highest, restore_plan
from app.replication.local import LocalDatabase
from app.replication.ltx import LtxError, decode
from app.replication.outcomes import Fenced, Lost, Outdated
from app.replication.pages import ForeignWriter
from app.replication.replica import Replica
from app.replication.store import StoreError

GIVING_WAY = (Lost, Fenced, Outdated, StoreError)
_BASE = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


@dataclass
class Ledger:
    """What clients were told: rows acknowledged with the time, rows that a settled read showed."""

    acknowledged: dict[int, float] = field(default_factory=dict)
    shown: set[int] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)
    schedule: list[str] = field(default_factory=list)
    refused: int = 0
    next_row: int = 0

    def note(self, text: str) -> None:
        self.schedule.append(f"{asyncio.get_running_loop().time():9.3f} {text}")

    def violate(self, text: str) -> None:
        self.note(f"VIOLATION {text}")
        self.violations.append(text)


class Scenario:
    """Everything that one seed decides."""

    def __init__(self, seed: int, make: Callable[..., Replica] = Replica) -> None:
        self.seed, self.make = seed, make
        self.rnd = random.Random(seed)
        rnd = self.rnd
        unkind = rnd.choice([0.0, 0.02, 0.1])
        low = rnd.choice([0.005, 0.05])
        self.faults = Faults(
            lost_request=unkind * rnd.random(),
            lost_answer=unkind * rnd.random(),
            late_commit=unkind * rnd.random(),
            error=unkind * rnd.random(),
            latency=(low, low * rnd.choice([1.5, 4, 20])),
        )
        self.options = Options(
            read_check=rnd.choice([0.0, 0.0, 1.0]),
            retention=rnd.choice([30 * 86400.0, 600.0]),
            snapshot_share=rnd.choice([0.5, 0.1]),
        )
        self.machines: list[Machine] = []
        self.ledger = Ledger()

    def run(self) -> Ledger:
        """Play the whole run in virtual time."""
        folder = Path(tempfile.mkdtemp(prefix="simulate-", dir=_BASE))
        loop = VirtualLoop()
        loop.set_task_factory(task_factory)
        try:
            loop.run_until_complete(self._play(folder))
        finally:
            loop.close()
            shutil.rmtree(folder)
        return self.ledger

    async def _play(self, folder: Path) -> None:
        self.bucket = Bucket(self.rnd, self.faults)
        self._folder = folder
        Machine.count = 0
        for _ in range(self.rnd.randint(1, 3)):
            self._add_machine()
        clients = [asyncio.ensure_future(self._client(number)) for number in range(self.rnd.randint(1, 5))]
        trouble = asyncio.ensure_future(self._trouble())
        await asyncio.gather(trouble, *clients)
        self.bucket.faults = Faults()
        for machine in self.machines:
            machine.thaw()
        await self._lone_claimant()
        await self._check_end()
        for machine in self.machines:
            await machine.crash()

    def _add_machine(self, folder: Path | None = None) -> Machine:
        machine = Machine(self.bucket, folder or self._folder / f"disk{len(self.machines)}", self.options, self.make)
        self.machines.append(machine)
        self.ledger.note(f"{machine.name} starts")
        return machine

    def _alive(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.alive]

    async def _client(self, number: int) -> None:
        rnd, ledger = self.rnd, self.ledger
        seen: set[int] = set()
        for _ in range(rnd.randint(5, 25)):
            await asyncio.sleep(rnd.expovariate(1 / rnd.choice([0.02, 0.3, 1.5])))
            machine = rnd.choice(self._alive())
            step = partial(self._write, machine) if rnd.random() < 0.7 else partial(self._read, machine, seen)
            task = machine.start(self._arriving(machine, step))
            task.add_done_callback(_seen)
            done, _ = await asyncio.wait((task,), timeout=60)
            if not done:
                # A client gives up on a frozen Machine; what it asked for may still happen.
                continue
            if not task.cancelled() and (error := task.exception()) is not None:
                if not isinstance(error, GIVING_WAY):
                    ledger.violate(f"client {number} met {error!r}")
                    raise error
                ledger.refused += 1

    async def _arriving(self, machine: Machine, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A request reaches a frozen Machine when it wakes, and takes some time of its clock."""
        await machine.sleep(0)
        await machine.sleep(1e-6)
        await step()

    async def _write(self, machine: Machine) -> None:
        ledger = self.ledger
        row, ledger.next_row = ledger.next_row, ledger.next_row + 1
        pad = self.rnd.randbytes(self.rnd.choice([10, 300, 6000]))
        vacuum = self.rnd.random() < 0.05

        def change(connection: object) -> None:
            execute = connection.execute  # type: ignore[attr-defined]
            execute("INSERT INTO row VALUES (?, ?)", (row, pad))
            if vacuum:
                execute("UPDATE row SET pad = NULL")

        _, ticket = await machine.replica.write(change)
        await machine.replica.settle(ticket)
        await machine.sleep(0)
        ledger.acknowledged[row] = asyncio.get_running_loop().time()
        ledger.note(f"{machine.name} acknowledges {row}")

    async def _read(self, machine: Machine, seen: set[int]) -> None:
        ledger, started = self.ledger, asyncio.get_running_loop().time()
        # A client that gave up on a frozen Machine has more than one request under way: only what was known when
        # this one began counts.
        expected, before = set(ledger.acknowledged), set(seen)
        rows, ticket = await machine.replica.read(
            lambda connection: {row for (row,) in connection.execute("SELECT id FROM row")}
        )
        await machine.replica.settle(ticket)
        await machine.sleep(0)
        ledger.shown |= rows
        if self.options.read_check == 0.0:
            if expected - rows:
                ledger.violate(f"{machine.name} read at {started:.3f} without acknowledged {sorted(expected - rows)}")
            if before - rows:
                ledger.violate(f"{machine.name} went back in time: {sorted(before - rows)} were shown before")
        seen |= rows

    async def _trouble(self) -> None:
        rnd = self.rnd
        for _ in range(rnd.randint(0, 6)):
            await asyncio.sleep(rnd.uniform(0.05, 4))
            machine = rnd.choice(self._alive())
            kind = rnd.choice(["crash", "freeze", "freeze", "long freeze", "another", "skip time"])
            self.ledger.note(f"{machine.name}: {kind}")
            if kind == "crash":
                await machine.crash()
                # The new process finds the old one's disk: what lies there must not be trusted.
                self._add_machine(machine.folder)
            elif kind in ("freeze", "long freeze"):
                machine.freeze()
                if len(self._alive()) < 3:
                    self._add_machine()
                longest = 30.0 if kind == "freeze" else 1500.0
                asyncio.get_running_loop().call_later(rnd.uniform(0.1, longest), machine.thaw)
            elif kind == "another" and len(self._alive()) < 3:
                self._add_machine()

    async def _lone_claimant(self) -> None:
        """With a kind store, a new Machine must get a write through in bounded time."""
        started = asyncio.get_running_loop().time()
        machine = self._add_machine()
        for _ in range(50):
            task = machine.start(self._write(machine))
            await asyncio.wait((task,))
            if task.exception() is None:
                break
            if not isinstance(task.exception(), GIVING_WAY):
                raise task.exception() or AssertionError
        else:
            self.ledger.violate("a lone claimant never got a write through")
        took = asyncio.get_running_loop().time() - started
        if took > 60:
            self.ledger.violate(f"a lone claimant needed {took:.0f} s")

    async def _check_end(self) -> None:
        ledger, refs = self.ledger, self.bucket.refs()
        if len(set(self.bucket.created)) != len(self.bucket.created):
            ledger.violate("a level-0 file was created twice")
        try:
            replay = self._replay(highest(refs))
        except (GapError, LtxError, ForeignWriter, ValueError, apsw.Error) as error:
            ledger.violate(f"the replica cannot be restored: {error!r}")
            return
        rows, _ = replay.read(lambda connection: {row for (row,) in connection.execute("SELECT id FROM row")})
        for name, wanted in (("acknowledged", set(ledger.acknowledged)), ("shown", ledger.shown)):
            if wanted - rows:
                ledger.violate(f"{name} rows are lost: {sorted(wanted - rows)}")
        # What lies behind a snapshot older than the retention may be deleted: no state before it can be replayed.
        aged = [ref for ref in refs if self.bucket.date - ref.modified > self.options.retention]
        forgotten = highest(ref for ref in aged if ref.level == SNAPSHOT)
        for machine in self._alive():
            database = machine.replica.database
            if database is None or machine.replica.busy or database.txid == 0 or database.txid < forgotten:
                continue
            live = database.durable_image()
            try:
                same = self._replay(live.txid).image() == live
            except (GapError, LtxError, ForeignWriter, ValueError, apsw.Error) as error:
                ledger.violate(f"{machine.name} at TXID {live.txid:x} cannot be replayed: {error!r}")
                continue
            if not same:
                ledger.violate(f"{machine.name} differs from the replica at TXID {live.txid:x}")

    def _replay(self, txid: int) -> LocalDatabase:
        """The database at ``txid``, from the bucket alone."""
        refs = [ref for ref in self.bucket.refs() if ref.max_txid <= txid]
        files = [decode(self.bucket.objects[ref.name].data) for ref in restore_plan(refs, txid)]
        return LocalDatabase.build(self._folder / f"replay-{txid}" / "database.sqlite", files)


def _seen(task: asyncio.Task[None]) -> None:
    """A request whose client gave up may end in an error that no one awaits."""
    if not task.cancelled():
        task.exception()
