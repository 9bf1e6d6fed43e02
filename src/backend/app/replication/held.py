"""The local copy as one Machine holds it: who may do what with it at a time, and what became of its commits.

No lock is held while the store is asked: work that only one may do is a single task that everyone awaits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw

from app.replication.core import Moment, Options
from app.replication.handover import Handover
from app.replication.layout import FileRef
from app.replication.local import LocalDatabase
from app.replication.outcomes import Lost, Ticket
from app.replication.pages import ForeignWriter
from app.replication.store import ReplicaStore, StoreError

T = TypeVar("T")
# Epochs whose durable commits are remembered, for requests that began in them.
_EPOCHS = 256
BROKEN_COPY = (
    ForeignWriter,
    OSError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.NotADBError,
)
"""What says that the local copy, not the replica, is spoiled: it is let go and built again."""
Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs blocking local work, in a thread in production."""


class Schema(Protocol):
    """What a profile's database must look like before anyone uses it."""

    def is_behind(self, connection: apsw.Connection) -> bool:
        """Whether ``migrate`` would change anything. May raise to refuse a database that is too new."""
        ...

    def migrate(self, connection: apsw.Connection) -> None:
        """Bring the schema up, inside the caller's transaction."""
        ...


class HeldCopy:
    """See `app.replication.replica.Replica`, whose lowest layer this is."""

    def __init__(
        self,
        store: ReplicaStore,
        path: Path,
        node: int,
        options: Options,
        schema: Schema,
        *,
        run: Run,
        now: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self.store, self.path, self.node, self.options, self.schema = store, path, node, options, schema
        self.run, self.wall_ms, self._now = run, wall_ms, now
        self.owner = False
        self.files: list[FileRef] = []
        self.epoch = 0
        self.before_rest: Callable[[], None] = lambda: None
        self.after_upload: Callable[[FileRef, bytes, float], None] = lambda _ref, _data, _date: None
        self._database: LocalDatabase | None = None
        self._checked: Moment | None = None
        self._unfit = False
        self._over: dict[int, tuple[int, Exception]] = {}
        self._handover = Handover(store, node, now)
        self.verified: float | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._writes: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closed = False
        self._pause = 0.0

    async def locally(self, work: Callable[[], T]) -> T:
        """Run work on the local copy, one piece at a time: a slow one must not fill the threads that all share."""
        async with self._turn:
            result: T = await self.run(work)
        return result

    async def rest(self) -> bool:
        """Close the connection of a replica that does nothing right now; False when it is busy."""
        if self.busy:
            return False
        self.before_rest()
        if self._database is not None:
            await self.locally(self._database.close)
        return True

    def _take_turn(self) -> bool:
        """Whether nobody had the turn; whoever asked has it then, and must release it."""
        taking = self._turn.acquire()
        try:
            # Where the turn is free this ends at once.
            taking.send(None)
        except StopIteration:
            return True
        taking.close()
        return False

    @property
    def busy(self) -> bool:
        """Whether anything is under way or not yet durable: such a replica must not be evicted."""
        return bool(self._tasks or self._writes) or self._pending

    @property
    def disk_bytes(self) -> int:
        """Bytes that the local copy takes on the disk."""
        return self._database.disk_bytes if self._database else 0

    @property
    def database(self) -> LocalDatabase | None:
        """The local copy, while there is one."""
        return self._database

    @property
    def _pending(self) -> bool:
        return self._database is not None and self._database.durable < self._database.seq

    def kept(self, ticket: Ticket) -> bool:
        """Whether the replica holds what the ticket stands for, as far as this Machine knows."""
        if ticket.epoch != self.epoch:
            return ticket.epoch in self._over and ticket.seq <= self._over[ticket.epoch][0]
        return self._database is not None and ticket.seq <= self._database.durable

    def _expect_kept(self, seen: Ticket | None) -> None:
        """Raises ``Lost`` where what the caller has seen was dropped since. What was only added to may be read on."""
        if seen is not None and seen.epoch != self.epoch and not self.kept(seen):
            raise self._lost(seen.epoch)

    def _expect_same_view(self, seen: Ticket | None) -> None:
        """Raises ``Lost`` where another Machine's changes came in since the caller read: its decision may be wrong."""
        if seen is not None and seen.epoch != self.epoch:
            raise self._lost(seen.epoch)

    def _lost(self, epoch: int) -> Lost:
        """Why what was not durable in ``epoch`` is gone: what ended that epoch, not what came to light later."""
        return Lost(self._over[epoch][1] if epoch in self._over else StoreError("it is too long ago to tell"))

    async def _give_way(self, database: LocalDatabase, cause: Exception) -> None:
        """Take back what did not become durable. Whether the store has it after all, the next look tells."""
        self.owner, self._checked = False, None

        def work() -> None:
            database.roll_back()
            # What is taken back may be a migration.
            self._unfit = database.read(self.schema.is_behind)[0]

        try:
            await self.locally(work)
        except BROKEN_COPY:
            await self._drop(cause)
        else:
            self._next_epoch(cause)

    async def _on(self, database: LocalDatabase, work: Callable[[], T]) -> T:
        """Work on this copy. Raises ``Lost`` where the disk has spoiled it, which lets it go."""
        try:
            return await self.locally(work)
        except BROKEN_COPY as error:
            await self._lose(database, error)
            raise Lost(error) from error

    async def _lose(self, database: LocalDatabase, cause: Exception) -> None:
        """Let a copy go that this disk spoiled, unless that was done already."""
        if self._database is database:
            await self._drop(cause)

    async def _drop(self, cause: Exception) -> None:
        """Let the local copy go: the next use builds it again."""
        database, self._database = self._database, None
        self.owner, self._unfit, self._checked = False, False, None
        if database is not None:
            await self.locally(database.remove)
        self._next_epoch(cause, database)

    def aside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start maintenance unless it is under way; it counts as busy and is waited for on closing."""
        if "aside" not in self._tasks and not self._closed:
            self._start("aside", work)

    async def _steer(
        self, work: Callable[[], Coroutine[Any, Any, None]], enough: Callable[[], bool] = lambda: False
    ) -> None:
        """Do ``work``, or wait for what another one does to the copy: one opens, looks or claims at a time.

        Returns sooner where the copy has become what the caller needs: ``enough``. Otherwise whether it has is for the
        caller to look at. The task outlives a caller that goes away.
        """
        task = self._tasks.get("steer")
        if task is None or task.done():
            # One that is done stands there until its callbacks run, and awaiting it would not let them: a caller that
            # looks, finds it not enough and comes back would spin for ever.
            task = self._start("steer", lambda: self._guarded(work))
        while not task.done():
            if enough():
                return
            await self._changed.wait()
        task.result()

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except BROKEN_COPY as error:
            await self._drop(error)
            raise Lost(error) from error

    def _start(
        self, name: str, work: Callable[[], Coroutine[Any, Any, None]], then: Callable[[], None] = lambda: None
    ) -> asyncio.Task[None]:
        """``then`` is called when the task has ended as it should."""
        task = asyncio.ensure_future(work())
        self._tasks[name] = task

        def ended(ended_task: asyncio.Task[None]) -> None:
            if self._tasks.get(name) is ended_task:
                del self._tasks[name]
            if not ended_task.cancelled() and ended_task.exception() is None:
                then()
            self._notify()

        task.add_done_callback(ended)
        return task

    def _next_epoch(self, cause: Exception, database: LocalDatabase | None = None) -> None:
        """The view was replaced. What was not durable is gone; whoever waits for something of the old epoch is told
        by what is remembered of it."""
        database = database or self._database
        self._over[self.epoch] = (database.durable if database else -1, cause)
        self._over.pop(self.epoch - _EPOCHS, None)
        self.epoch += 1
        self._notify()

    def _moment(self) -> Moment:
        return Moment(self._now(), self.wall_ms() / 1000)

    def _checked_since(self, started: Moment) -> bool:
        return self._checked is not None and self._checked.monotonic >= started.monotonic

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
