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
from app.replication.errors import Damaged, Fenced, ForeignWriter, GapError, Lost, LtxError, Outdated, StoreError
from app.replication.session import ReplicatedSession
from app.sync.interface import SchemaTooNew, SyncConflict, SyncDamaged, SyncUnavailable

if TYPE_CHECKING:
    from tests.backend.replication.simulation.scenario import Scenario

GIVING_WAY = (Lost, Fenced, Outdated, StoreError, NewerSchema, SyncConflict, SyncUnavailable)
BROKEN = (Damaged, GapError, LtxError, ForeignWriter, apsw.Error)
"""What a request must never meet: the replica, or the copy of it, is no database."""
# A client gives up then; what it asked for may still happen.
_PATIENCE = 60.0
_ROUNDING = 1e-6


class Client:
    """``shown`` and ``floors`` are by Machine: the rows that this client knows from it, and the TXID of the file that
    made it give way, which the next answer must not lie behind."""

    def __init__(self, scenario: Scenario, number: int) -> None:
        self.scenario, self.number = scenario, number
        self.shown: defaultdict[str, set[int]] = defaultdict(set)
        self.floors: defaultdict[str, int] = defaultdict(int)
        self._last: Machine | None = None

    async def run(self) -> None:
        rnd = self.scenario.rnd
        write, read, request = rnd.choice([(7, 1, 2), (4, 4, 2), (1, 7, 2), (1, 1, 8)])
        for _ in range(rnd.randint(5, 25)):
            await asyncio.sleep(rnd.expovariate(1 / rnd.choice([0.02, 0.3, 1.5])))
            (step,) = rnd.choices((self.write, self.read, self.request), (write, read, request))
            await self.ask(self._pick(), step)

    async def ask(self, machine: Machine, step: Callable[[Machine], Coroutine[Any, Any, None]]) -> bool:
        """Make one request of the Machine; whether it was answered well before this client gave up."""
        task = machine.start(self._arriving(machine, step))
        # Also of a request whose client gave up.
        task.add_done_callback(partial(self._judge, machine))
        await asyncio.wait((task,), timeout=_PATIENCE)
        return task.done() and not task.cancelled() and task.exception() is None

    async def write(self, machine: Machine) -> None:
        row, change = self._change(machine)
        _, ticket = await machine.replica.write(change)
        await machine.replica.settle(ticket)
        await self._answered(machine, row)

    async def read(self, machine: Machine) -> None:
        # A client that gave up on a frozen Machine has more than one request under way: only what was known when
        # this one began counts.
        wanted = Wanted(self, machine)
        (rows, reached), ticket = await machine.replica.read(
            lambda connection: (_rows(connection, machine), _reached(machine))
        )
        await machine.replica.settle(ticket)
        await machine.sleep(0)
        wanted.check(rows, reached)
        self.scenario.ledger.show(rows)
        self.shown[machine.name] |= rows

    async def request(self, machine: Machine) -> None:
        """Look, think, write, and look again in one session, as a handler does."""
        ledger, rnd = self.scenario.ledger, self.scenario.rnd
        wanted, session = Wanted(self, machine), ReplicatedSession(machine.replica, "")
        row, change = self._change(machine)
        try:
            before, reached = await session.read(lambda connection: (_rows(connection, machine), _reached(machine)))
            await machine.sleep(rnd.choice([0.0, 0.1, 1.0]) * rnd.random())
            await session.write(change)
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
        await self._answered(machine, row)

    def _change(self, machine: Machine) -> tuple[int, Callable[[apsw.Connection], None]]:
        """A new row, and what writes it: a newer release writes into its new table too."""
        rnd = self.scenario.rnd
        row, pad = self.scenario.ledger.new_row(), rnd.randbytes(rnd.choice([10, 300, 6000]))
        shrinks = rnd.random() < 0.05

        def change(connection: apsw.Connection) -> None:
            if (found := version_of(connection)) > machine.version:
                self.scenario.ledger.strange[row] = f"schema {found} by {machine.name}, which knows {machine.version}"
            connection.execute("INSERT INTO row VALUES (?, ?)", (row, pad))
            if machine.version > 1:
                connection.execute("INSERT INTO note VALUES (?)", (row,))
            if shrinks:
                connection.execute("UPDATE row SET pad = NULL")

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

    def _pick(self) -> Machine:
        """Often the one that answered last, mostly one that is awake."""
        rnd, alive = self.scenario.rnd, self.scenario.alive()
        awake = [machine for machine in alive if machine.awake]
        if self._last not in awake or rnd.random() < 0.5:
            self._last = rnd.choice(awake if awake and rnd.random() < 0.8 else alive)
        return self._last

    def _judge(self, machine: Machine, task: asyncio.Task[None]) -> None:
        scenario, ledger = self.scenario, self.scenario.ledger
        if task.cancelled() or (error := task.exception()) is None:
            return
        if (
            isinstance(error, SyncDamaged | SyncConflict | SyncUnavailable | SchemaTooNew)
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
        elif isinstance(error, Damaged) and scenario.bucket.date - machine.store.listed > scenario.options.retention:
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
        until = machine.clock.when(machine.monotonic() - interval) - _ROUNDING if interval else self.began
        self.known = scenario.ledger.known(until) if interval < math.inf else set()
        self.shown = set(client.shown[machine.name])
        self.floor = client.floors[machine.name]
        self._machine, self._ledger = machine, scenario.ledger

    def check(self, rows: set[int], reached: int) -> None:
        """``rows`` are what it showed, ``reached`` is the TXID of the copy that it read."""
        what = f"{self._machine.name} answered a read of {self.began:.3f}"
        if self.known - rows:
            self._ledger.violate(f"{what} without {sorted(self.known - rows)}, known long before")
        if self.shown - rows:
            self._ledger.violate(f"{what} and went back in time: without {sorted(self.shown - rows)}, known from it")
        if reached < self.floor:
            self._ledger.violate(f"{what} at TXID {reached:x}, behind {self.floor:x} that had made it give way")


def _rows(connection: apsw.Connection, machine: Machine) -> set[int]:
    if machine.version > 1:
        connection.execute("SELECT count(*) FROM note").fetchall()
    return {row for (row,) in connection.execute("SELECT id FROM row")}


def _reached(machine: Machine) -> int:
    database = machine.replica.copy.database
    return database.txid if database else 0
