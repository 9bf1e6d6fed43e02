"""Clients: one request after the other, to whichever Machine they are led, and what each answer must agree with."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

import apsw
from tests.backend.replication.simulation.world import Machine, version_of

from app.db.schema import NewerSchema
from app.replication.errors import (
    Damaged,
    Deleted,
    Fenced,
    ForeignWriter,
    GapError,
    Lost,
    LtxError,
    Outdated,
    StoreError,
)
from app.replication.session import ReplicatedSession
from app.sync.interface import SchemaTooNew, SyncConflict, SyncDamaged, SyncGone, SyncUnavailable

if TYPE_CHECKING:
    from tests.backend.replication.simulation.scenario import Scenario

GIVING_WAY = (Lost, Fenced, Outdated, StoreError, NewerSchema, SyncConflict, SyncUnavailable)
BROKEN = (Damaged, GapError, LtxError, ForeignWriter, apsw.Error)
"""What a request must never meet: the replica, or the copy of it, is no database."""
# A client gives up then; what it asked for may still happen.
_PATIENCE = 60.0
COUNTER = 1_000_000
"""The row that holds a number which all clients count up."""
_ROUNDING = 1e-6


class Client:
    """``shown`` and ``floors`` are by Machine: the rows that this client knows from it, and the TXID of the file that
    made it give way, which the next answer must not lie behind. A client that sends ``position`` back must be shown,
    by any Machine, all of ``told``: what an answer showed it before."""

    def __init__(self, scenario: Scenario, number: int) -> None:
        self.scenario, self.number = scenario, number
        self.shown: defaultdict[str, set[int]] = defaultdict(set)
        self.floors: defaultdict[str, int] = defaultdict(int)
        self.position: int | None = 0 if scenario.rnd.random() < 0.7 else None
        self.told: set[int] = set()
        self._last: Machine | None = None

    async def run(self) -> None:
        rnd = self.scenario.rnd
        weights = rnd.choice([(7, 1, 2, 0, 0), (4, 4, 2, 1, 1), (1, 7, 2, 0, 1), (1, 1, 8, 1, 0), (1, 2, 1, 4, 4)])
        steps = (self.write, self.read, self.request, self.count, self.decide)
        for _ in range(rnd.randint(5, 25)):
            await asyncio.sleep(rnd.expovariate(1 / rnd.choice([0.02, 0.3, 1.5])))
            (step,) = rnd.choices(steps, weights)
            machine = self._pick()
            routing = machine.start(self._route(machine))
            await asyncio.wait((routing,), timeout=_PATIENCE)
            if routing.done() and not routing.cancelled() and routing.exception() is None:
                self.scenario.ledger.counts["routed"] += machine is not routing.result()
                machine = routing.result()
            if machine.alive:
                await self.ask(machine, step)

    async def ask(self, machine: Machine, step: Callable[[Machine], Coroutine[Any, Any, None]]) -> bool:
        """Make one request of the Machine; whether it was answered well before this client gave up."""
        task = machine.start(self._arriving(machine, step))
        # Also of a request whose client gave up.
        task.add_done_callback(partial(self._judge, machine))
        await asyncio.wait((task,), timeout=_PATIENCE)
        return task.done() and not task.cancelled() and task.exception() is None

    async def write(self, machine: Machine) -> None:
        began, session = asyncio.get_running_loop().time(), self._session(machine)
        row, change = self._change(machine)
        await session.write(change)
        await session.settle()
        deleted = self.scenario.ledger.deleted
        if deleted is not None and began > deleted:
            self.scenario.ledger.violate(f"{machine.name} acknowledged {row} in a profile that had been deleted")
        self._tell(session, {row})
        await self._answered(machine, row)

    async def read(self, machine: Machine) -> None:
        # A client that gave up on a frozen Machine has more than one request under way: only what was known when
        # this one began counts.
        wanted = Wanted(self, machine)
        session, log = self._session(machine), machine.replica.log
        behind = 0 < _reached(machine) < (self.position or 0) and log.is_fresh(log.moment())
        rows, reached = await session.read(lambda connection: (_rows(connection, machine), _reached(machine)))
        await session.settle()
        await machine.sleep(0)
        wanted.check(rows, reached)
        self.scenario.ledger.counts["caught up to a position"] += behind
        self.scenario.ledger.show(rows)
        self.shown[machine.name] |= rows
        self._tell(session, rows)

    async def count(self, machine: Machine) -> None:
        """Add one to the counter that all clients share."""
        ledger, session = self.scenario.ledger, self._session(machine)
        ledger.tried += 1

        def change(connection: apsw.Connection) -> None:
            connection.execute("INSERT INTO row VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET pad = pad + 1", (COUNTER,))

        await session.write(change)
        await session.settle()
        await machine.sleep(0)
        ledger.counted += 1
        ledger.counters.add(machine.name)
        ledger.counts["counted"] += 1

    async def decide(self, machine: Machine) -> None:
        """Ask for something that is refused unless a certain row is there; sometimes it is, and nothing is changed."""
        ledger, session = self.scenario.ledger, self._session(machine)
        known = sorted(ledger.known(asyncio.get_running_loop().time()))
        if not known:
            return
        row, raises = self.scenario.rnd.choice(known), self.scenario.rnd.random() < 0.5

        def change(connection: apsw.Connection) -> bool:
            found = bool(connection.execute("SELECT 1 FROM row WHERE id = ?", (row,)).fetchall())
            if not found and raises:
                raise Missing(row)
            return found

        try:
            found = await session.write(change)
        except Missing:
            found = False
        await session.settle()
        await machine.sleep(0)
        if not found and ledger.deleting is None:
            ledger.violate(f"{machine.name} refused a request for want of row {row}, known before it began")

    async def request(self, machine: Machine) -> None:
        """Look, think, write, and look again in one session, as a handler does."""
        ledger, rnd = self.scenario.ledger, self.scenario.rnd
        wanted, session = Wanted(self, machine), self._session(machine)
        row, change = self._change(machine)

        def on_the_view(connection: apsw.Connection) -> None:
            if others := [r for r in _rows(connection, machine) - before if ledger.authors.get(r) != machine.name]:
                ledger.replaced[row] = f"{machine.name} wrote {row} on a view without {sorted(others)} of others"
            change(connection)

        try:
            before, reached = await session.read(lambda connection: (_rows(connection, machine), _reached(machine)))
            await machine.sleep(rnd.choice([0.0, 0.1, 1.0]) * rnd.random())
            await session.write(on_the_view)
            after = await session.read(lambda connection: _rows(connection, machine))
            await session.settle()
        except SyncConflict as error:
            ledger.conflicts[row] = f"{machine.name}: {error}"
            raise
        finally:
            session.end()
        await machine.sleep(0)
        wanted.check(before, reached)
        if missing := (before | {row}) - after:
            ledger.violate(f"{machine.name} answered {row}, but its session did not see {sorted(missing)} any more")
        ledger.show(after)
        self.shown[machine.name] |= after
        if row in ledger.replaced:
            ledger.violate(ledger.replaced[row])
        self._tell(session, after | {row})
        await self._answered(machine, row)

    def _session(self, machine: Machine) -> ReplicatedSession:
        return ReplicatedSession(machine.replica, "", self.position or 0)

    def _tell(self, session: ReplicatedSession, rows: set[int]) -> None:
        """An answer showed these rows, and says where in the log they are."""
        self.told |= rows
        if self.position is not None:
            self.position = max(self.position, session.position or 0)

    def _change(self, machine: Machine) -> tuple[int, Callable[[apsw.Connection], None]]:
        """A new row, and what writes it: a newer release writes into its new table too."""
        rnd = self.scenario.rnd
        row, pad = self.scenario.ledger.new_row(), rnd.randbytes(rnd.choice([10, 300, 6000]))
        self.scenario.ledger.authors[row] = machine.name
        shrinks = rnd.random() < 0.05

        def change(connection: apsw.Connection) -> None:
            if (found := version_of(connection)) > machine.version:
                self.scenario.ledger.strange[row] = f"schema {found} by {machine.name}, which knows {machine.version}"
            connection.execute("INSERT INTO row VALUES (?, ?)", (row, pad))
            if machine.version > 1:
                connection.execute("INSERT INTO note VALUES (?)", (row,))
            if shrinks:
                connection.execute("UPDATE row SET pad = NULL WHERE id <> ?", (COUNTER,))

        return row, change

    async def _answered(self, machine: Machine, row: int) -> None:
        await machine.sleep(0)
        self.scenario.ledger.acknowledge(row)
        if row in self.scenario.ledger.strange:
            self.scenario.ledger.violate(f"row {row} was written into {self.scenario.ledger.strange[row]}")
        self.scenario.ledger.note(f"{machine.name} acknowledges {row}")
        self.shown[machine.name].add(row)

    async def _arriving(self, machine: Machine, step: Callable[[Machine], Coroutine[Any, Any, None]]) -> None:
        """A request reaches a frozen Machine when it wakes, and takes some time of its clock."""
        await machine.sleep(0)
        await machine.sleep(1e-6)
        await step(machine)
        if self.scenario.rnd.random() < 0.3:
            machine.replica.claim_soon()

    def _pick(self) -> Machine:
        """Often the one that answered last, mostly one that is awake."""
        rnd, alive = self.scenario.rnd, self.scenario.alive()
        awake = [machine for machine in alive if machine.awake]
        if self._last not in awake or rnd.random() < 0.5:
            self._last = rnd.choice(awake if awake and rnd.random() < 0.8 else alive)
        return self._last

    async def _route(self, machine: Machine) -> Machine:
        """Where the proxy ends up with a request that reached this Machine: the owner, if it can be reached."""
        if self.scenario.rnd.random() < 0.5:
            return machine
        name = await machine.replica.elsewhere()
        if name == machine.name:
            self.scenario.ledger.violate(f"{name} sends requests to itself")
        found = [other for other in self.scenario.alive() if other.name == name and other.awake]
        return found[0] if found else machine

    def _judge(self, machine: Machine, task: asyncio.Task[None]) -> None:
        scenario, ledger = self.scenario, self.scenario.ledger
        if task.cancelled() or (error := task.exception()) is None:
            return
        if (
            isinstance(error, SyncDamaged | SyncConflict | SyncUnavailable | SyncGone | SchemaTooNew)
            and error.__cause__ is not None
        ):
            # As the seam has it; what it was made from says more.
            error = error.__cause__
        cause = error.cause if isinstance(error, Lost) else error
        if isinstance(error, GIVING_WAY):
            ledger.counts["refused"] += 1
            ledger.counts["stopped late"] += isinstance(cause, Outdated)
            if isinstance(cause, Fenced):
                self.floors[machine.name] = max(self.floors[machine.name], cause.ref.max_txid)
        elif isinstance(error, Damaged) and ledger.deleting is not None:
            ledger.counts["refused"] += 1
            ledger.counts["refused as deleted"] += isinstance(error, Deleted)
        elif isinstance(error, Damaged) and machine.store.slept_past(scenario.options.retention):
            # It slept, and what it had listed was deleted before it asked for it.
            ledger.counts["refused"] += 1
        elif isinstance(error, BROKEN):
            ledger.violate(f"client {self.number} met {error!r} on {machine.name}")
        else:
            ledger.unexpected.append(error)


class Wanted:
    """What a read that begins now must show: all that any client knew before the interval for which a Machine may
    trust its last look, by its own clock, and all that this client knows from this Machine."""

    def __init__(self, client: Client, machine: Machine) -> None:
        scenario = client.scenario
        interval = scenario.options.read_check
        self.began = asyncio.get_running_loop().time()
        until = self.began
        if 0 < interval < math.inf:
            # The interval is over when either clock says so.
            since = machine.clock.when(machine.monotonic() - interval)
            until = machine.wall.first_within(interval, since) - _ROUNDING
        self.known = scenario.ledger.known(until) if interval < math.inf else set()
        self.shown = set(client.shown[machine.name])
        if client.position is not None:
            self.shown |= client.told
        self.floor = client.floors[machine.name]
        self._machine, self._ledger = machine, scenario.ledger

    def check(self, rows: set[int], reached: int) -> None:
        """``rows`` are what it showed, ``reached`` is the TXID of the copy that it read."""
        what = f"{self._machine.name} answered a read of {self.began:.3f}"
        if self._ledger.deleting is not None:
            return
        if self.known - rows:
            self._ledger.violate(f"{what} without {sorted(self.known - rows)}, known long before")
        if self.shown - rows:
            self._ledger.violate(f"{what} and went back in time: without {sorted(self.shown - rows)}, known from it")
        if reached < self.floor:
            self._ledger.violate(f"{what} at TXID {reached:x}, behind {self.floor:x} that had made it give way")


def _rows(connection: apsw.Connection, machine: Machine) -> set[int]:
    if machine.version > 1:
        connection.execute("SELECT count(*) FROM note").fetchall()
    return {row for (row,) in connection.execute("SELECT id FROM row WHERE id <> ?", (COUNTER,))}


class Missing(Exception):
    """A request was refused because a row is not there."""


def _reached(machine: Machine) -> int:
    database = machine.replica.copy.database
    return database.txid if database else 0
