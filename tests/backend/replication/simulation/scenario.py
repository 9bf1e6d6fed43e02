"""One seeded run: clients, Machines that come and go, a store that fails; and what must hold at the end."""

from __future__ import annotations

import asyncio
import math
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import apsw
from tests.backend.replication.simulation.clients import Client
from tests.backend.replication.simulation.end import UNUSABLE, check_deleted, check_end, replay
from tests.backend.replication.simulation.ledger import Ledger
from tests.backend.replication.simulation.loop import Deadlock, VirtualLoop
from tests.backend.replication.simulation.store import SimulatedObjects
from tests.backend.replication.simulation.world import Bucket, Faults, Machine, Stored, Table, task_factory

from app.context import UserContext
from app.replication import deletion
from app.replication.layout import FANOUT, SNAPSHOT, FileRef, highest, transaction
from app.replication.log import DAY, Options
from app.replication.ltx import Header, encode
from app.replication.replica import Replica
from app.storage.keys import Keys

_BASE = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
# By then one who is alone with a kind store must have written, in seconds and in requests.
_SOON, _TRIES = 60.0, 50
# Seconds of virtual time. A client makes at most 25 requests, and waits at most 60 s for each and 60 s for its route.
_LONGEST = 4_000.0
_TROUBLES = (
    "crash",
    "freeze",
    "freeze",
    "long freeze",
    "another",
    "skip time",
    "sleep through",
    "sleep through",
    "outage",
    "outage",
    "stop",
    "set the clock",
    "set the clock",
    "set the clock",
    "import",
)
_OPERATIONS = ("GET", "PUT", "LIST")
KEYS = Keys("sim").profile(UserContext("alice", "main"))


class Scenario:
    """Everything that one seed decides. With ``upgrade`` half of the Machines that come have the next release."""

    def __init__(self, seed: int, make: Callable[..., Replica] = Replica, *, upgrade: bool = False) -> None:
        self.seed, self.make, self.upgrade = seed, make, upgrade
        self.rnd = random.Random(seed)
        rnd = self.rnd
        unkind = rnd.choice([0.0, 0.02, 0.1])
        low = rnd.choice([0.005, 0.05])
        self.faults = Faults(
            lost_request=unkind * rnd.random(),
            lost_answer=unkind * rnd.random(),
            late_commit=unkind * rnd.random(),
            error=unkind * rnd.random(),
            rate_limit=unkind * rnd.random() / 4,
            latency=(low, low * rnd.choice([1.5, 4, 20])),
            window=rnd.choice([0.0, 0.0, 1.0]),
        )
        self.options = Options(
            read_check=rnd.choice([0.0, 0.0, 1.0, 1.0, math.inf]),
            retention=rnd.choice([30 * DAY, 600.0]),
            snapshot_share=rnd.choice([0.5, 0.1, 0.0]),
        )
        # Small, so that a short run has merges, snapshots and deletions.
        self.fanout = rnd.choice([2, 2, 3, FANOUT])
        self.day = rnd.choice([0.0, self.options.retention / 30, DAY])
        # One in so many seeds: a whole-file database of an earlier release is there; the profile is deleted.
        self.legacy = rnd.random() < 0.2
        self.deletes = rnd.random() < 0.15
        self.named = rnd.random() < 0.6
        # With numbers of their own, so that the seeds that found a mistake play as they did.
        self.begins = not self.legacy and random.Random(f"{seed} begins").random() < 0.25
        self.disks_fail = random.Random(f"{seed} bad disk").random() < 0.3
        self.machines: list[Machine] = []
        self.ledger = Ledger()

    def run(self) -> Ledger:
        """Play the whole run in virtual time. Raises what no protocol may raise: a mistake in the code."""
        folder = Path(tempfile.mkdtemp(prefix="simulate-", dir=_BASE))
        loop = VirtualLoop(_LONGEST)
        loop.set_task_factory(task_factory)
        try:
            with _constants(FANOUT=self.fanout, DAY=self.day), _no_threads():
                loop.run_until_complete(self._play(folder))
        except Deadlock as error:
            self.ledger.violations.append(str(error))
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            with suppress(Deadlock):
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            loop.close()
            shutil.rmtree(folder)
        if self.ledger.unexpected:
            raise self.ledger.unexpected[0]
        return self.ledger

    def alive(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.alive]

    async def _play(self, folder: Path) -> None:
        self.bucket = Bucket(self.rnd, self.faults)
        self._folder = folder
        Machine.count = 0
        if self.legacy:
            self._put_legacy(folder)
        for _ in range(self.rnd.randint(1, 3)):
            self._add_machine()
        if self.begins:
            # A creation whose answer was lost is repeated, by another Machine.
            await asyncio.gather(self._begin(self.machines[0]), self._begin(self.machines[-1]))
        clients = [Client(self, number) for number in range(self.rnd.randint(1, 5))]
        deletion = [self._delete()] if self.deletes else []
        await asyncio.gather(self._trouble(), *deletion, *(client.run() for client in clients))
        self.bucket.faults = Faults()
        for machine in self.machines:
            machine.thaw()
        if self.deletes:
            await self._check_deletion()
            return
        last = Client(self, len(clients))
        self._add_machine()
        newest = max(machine.version for machine in self.machines)
        if all(machine.version < newest for machine in self.alive()):
            # The one that had it crashed, and may have brought the schema up before.
            self._add_machine(version=newest)
        for machine in reversed(self.alive()):
            # An older release may have to refuse.
            if machine.version == newest:
                await self._gets_through(last, machine)
        await self._stop_owner(last)
        self._count()
        check_end(self.bucket, self.alive(), self.options.retention, self.ledger, folder)
        for machine in self.machines:
            await machine.crash()

    def _add_machine(self, folder: Path | None = None, version: int | None = None) -> Machine:
        if version is None:
            version = self.rnd.randint(1, 2) if self.upgrade else 1
        folder = folder or self._folder / f"disk{len(self.machines)}"
        machine = Machine(self.bucket, folder, self.options, self.make, version, named=self.named)
        self.machines.append(machine)
        self.ledger.note(f"{machine.name} starts, release {version}")
        return machine

    async def _trouble(self) -> None:
        rnd = self.rnd
        for _ in range(rnd.randint(0, 6)):
            await asyncio.sleep(rnd.uniform(0.05, 4))
            machine = rnd.choice(self.alive())
            if self.disks_fail:
                self.ledger.note(f"{machine.name}: its disk fails for a moment")
                self.ledger.counts["disks that fail"] += 1
                machine.start(machine.replica.copy.dropped(OSError("the disk fails")))
            kind = rnd.choice(_TROUBLES)
            self.ledger.note(f"{machine.name}: {kind}")
            if kind == "crash":
                await machine.crash()
                # The new process finds the old one's disk: what lies there must not be trusted.
                self._add_machine(machine.folder)
            elif kind in ("freeze", "long freeze"):
                machine.freeze()
                self._add_if_few()
                longest = 30.0 if kind == "freeze" else 1500.0
                asyncio.get_running_loop().call_later(rnd.uniform(0.1, longest), machine.thaw)
            elif kind == "another":
                self._add_if_few()
            elif kind == "stop" and machine.awake and len(self.alive()) > 1:
                await self._stop(machine)
            elif kind == "set the clock":
                self.ledger.counts["clocks set"] += 1
                machine.wall.jump(rnd.choice([-7200.0, -1.0, -0.5, 0.5, 2.0, 7200.0]))
            elif kind == "import":
                self._import()
            elif kind == "skip time":
                self._skip(rnd.choice([0.3, 0.6, 1.1, 2.5]))
            elif kind == "sleep through":
                await self._sleep_through(machine)
            elif kind == "outage":
                await self._outage()

    async def _stop(self, machine: Machine) -> None:
        """An orderly stop, which ends what is under way; afterwards the newest file does not name this Machine."""
        machine.alive = False
        # A Machine whose disk has just failed does not know what it owns.
        owned = self.named and machine.replica.copy.owning and not self.disks_fail
        task = machine.start(machine.replica.close(release_seconds=20.0))
        await asyncio.wait((task,), timeout=120)
        if owned and self.bucket.faults.none and task.done() and self.bucket.owner == machine.name:
            self.ledger.violate(f"{machine.name} stopped, and the log names it as the owner")
        self.ledger.counts["releases"] += owned and not self.bucket.owner
        machine.alive = True
        await machine.crash()

    async def _stop_owner(self, client: Client) -> None:
        """Stop the owner in order, with several writes under way, one of which may be refused."""
        steps = (client.write, client.decide, client.count, client.write)
        for machine in self.alive():
            if machine.name == self.bucket.owner:
                writing = [asyncio.ensure_future(client.ask(machine, step)) for step in steps]
                await asyncio.sleep(self.rnd.uniform(0, self.rnd.choice([0.005, 0.1])))
                await self._stop(machine)
                await asyncio.gather(*writing)

    async def _begin(self, machine: Machine) -> None:
        """Create the profile, as ``POST /api/profiles`` does; where it fails, the first request makes it."""
        objects: Any = SimulatedObjects(machine.store, KEYS.database_folder)
        task = machine.start(deletion.begin(objects, KEYS))
        await asyncio.wait((task,), timeout=60)
        if task.done() and not task.cancelled() and task.exception() is None:
            self.ledger.counts["creations"] += 1

    def _count(self) -> None:
        """Add what can be counted at the end."""
        ledger, bucket = self.ledger, self.bucket
        ledger.counts.update(bucket.counts)
        ledger.counts["take-overs by two"] += len(bucket.takers) > 1
        ledger.counts["counters of two"] += len(ledger.counters) > 1
        ledger.counts["deletions over"] += ledger.deleted is not None

    def _import(self) -> None:
        """What the operator's command does: the whole database as the next transaction, and as a snapshot."""
        refs = self.bucket.refs()
        txid = highest(refs) + 1
        if txid == 1 or self.ledger.deleting is not None:
            return
        try:
            database = replay(self.bucket, txid - 1, self._folder)
        except UNUSABLE as error:
            self.ledger.violate(f"the replica cannot be restored for an import: {error!r}")
            return
        image = database.image()
        for ref in (transaction(txid), FileRef(SNAPSHOT, 1, txid)):
            header = Header(database.page_size, image.commit, ref.min_txid, ref.max_txid, 0, 77)
            self.bucket.create(ref.name, encode(header, image.pages))
        self.ledger.counts["imports"] += 1
        database.remove()

    def _put_legacy(self, folder: Path) -> None:
        """A database that shrinks when rows lose what they hold, with rows that every client knows."""
        path = folder / "legacy.sqlite"
        connection = apsw.Connection(str(path))
        connection.pragma("page_size", self.rnd.choice([1024, 4096]))
        connection.pragma("auto_vacuum", 1)
        Table(1).migrate(connection)
        for row in range(-9, 0):
            connection.execute("INSERT INTO row VALUES (?, ?)", (row, self.rnd.randbytes(3000)))
        connection.close()
        self.bucket.objects["legacy"] = Stored(path.read_bytes(), None)
        for row in range(-9, 0):
            self.ledger.acknowledge(row)

    async def _delete(self) -> None:
        """Delete the profile on some Machine, now and then on two at once, until one of them says that it is done."""
        await asyncio.sleep(self.rnd.uniform(1, 15))
        self.ledger.deleting = asyncio.get_running_loop().time()
        self.ledger.note("the profile is deleted")
        while self.ledger.deleted is None:
            self._add_if_few()
            on = [self.rnd.choice(self.alive()) for _ in range(self.rnd.randint(1, 2))]
            self.ledger.counts["deletions at once"] += len(on) > 1
            # A creation that was slow meets the deletion.
            late = [self._begin(on[0])] if self.begins else []
            self.ledger.counts["creations amid a deletion"] += len(late)
            await asyncio.gather(*map(self._delete_on, on), *late)
            await asyncio.sleep(1)

    async def _delete_on(self, machine: Machine) -> None:
        objects: Any = SimulatedObjects(machine.store, KEYS.database_folder)
        task = machine.start(deletion.empty(objects, KEYS, self.options.retention))
        await asyncio.wait((task,), timeout=60)
        if task.done() and not task.cancelled() and task.exception() is None and self.ledger.deleted is None:
            self.ledger.deleted = asyncio.get_running_loop().time()
            self.ledger.note("the deletion is over")

    async def _check_deletion(self) -> None:
        """Each Machine, asked once more, refuses; what is left is what a deletion leaves."""
        last = Client(self, 99)
        for machine in self.alive():
            for _ in range(3):
                await last.ask(machine, last.write)
        await self._delete_on(self._add_machine())
        self._count()
        check_deleted(self.bucket, self.ledger)
        for machine in self.machines:
            await machine.crash()

    def _add_if_few(self) -> None:
        if len(self.alive()) < 3:
            self._add_machine()

    def _skip(self, share: float) -> None:
        """Let that share of the retention pass in which no one did anything, awake or suspended."""
        seconds = share * self.options.retention
        self.bucket.skew += seconds
        awake = self.rnd.random() < 0.5
        self.ledger.note(f"{seconds:.0f} s pass, Machines are {'awake' if awake else 'suspended'}")
        for machine in self.alive():
            # No request takes days on a Machine that is awake.
            if awake and not machine.tasks:
                machine.clock.leap(seconds)

    async def _sleep_through(self, machine: Machine) -> None:
        """While the Machine is frozen others write, the retention passes, and they write again."""
        machine.freeze()
        if not any(other.awake for other in self.alive()):
            self._add_machine()
        await asyncio.sleep(self.rnd.uniform(0.5, 4))
        self._skip(self.rnd.choice([0.6, 1.1, 1.1, 2.5]))
        await asyncio.sleep(self.rnd.uniform(0.5, 4))
        machine.thaw()

    async def _outage(self) -> None:
        """Some operations only fail for a while; Machines come in the midst of it."""
        self.bucket.down = frozenset(self.rnd.sample(_OPERATIONS, self.rnd.choice([1, 1, 2])))
        self.ledger.note(f"no {' and no '.join(sorted(self.bucket.down))}")
        if self.rnd.random() < 0.7:
            self._add_if_few()
        await asyncio.sleep(self.rnd.uniform(0.5, 5))
        self.bucket.down = frozenset()

    async def _gets_through(self, client: Client, machine: Machine) -> None:
        """With a kind store and no one else, a Machine must get a write through in bounded time."""
        started = asyncio.get_running_loop().time()
        for _ in range(_TRIES):
            if await client.ask(machine, client.write):
                break
        else:
            self.ledger.violate(f"{machine.name}, alone, never got a write through")
        took = asyncio.get_running_loop().time() - started
        if took > _SOON:
            self.ledger.violate(f"{machine.name}, alone, needed {took:.0f} s for a write")


@contextmanager
def _no_threads() -> Iterator[None]:
    """No thread can wake the virtual loop; and a profile that is created has the simulated app's schema."""

    async def here(work: Callable[[], Any]) -> Any:
        return work()

    with mock.patch.object(asyncio, "to_thread", here), mock.patch.object(deletion, "schema", Table()):
        yield


@contextmanager
def _constants(**values: float) -> Iterator[None]:
    """These values of the protocol's constants, wherever its modules have them."""
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("app.replication."):
                for constant, value in values.items():
                    if hasattr(module, constant):
                        stack.enter_context(mock.patch.object(module, constant, value))
        yield
