"""One profile's local copy on this Machine through its lives: its state, its epochs, and the tickets of its commits.

The state is one of five, and changes only by the methods named at the arrows::

    EMPTY ──built──► FOLLOWING ◄──────overtaken, gave_way──────── OWNING
      ▲               │   ▲  └──────────────claimed───────────────► ▲
      │               │   └overtaken─┐                              │
      │           overtaken ──────► BEHIND ─────────claimed─────────┘
      └──── dropped (from every state) ; dropped for good ► CLOSED

``EMPTY``: nothing on the disk. ``BEHIND``: the schema is older than this release, so no request may use the copy before
a claim has brought it up. ``FOLLOWING``: it may be read. ``OWNING``: this Machine claimed the log's end and may write.

An **epoch** is a stretch in which commits are only added. It ends when commits are taken back, when another Machine's
changes come in, or when the copy is dropped. A **ticket** names a commit of an epoch; for each epoch that is over, the
last durable commit and the cause of its end are remembered, so that a request that began in it gets the right answer.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw

from app.replication.errors import Damaged, Declined, Fenced, ForeignWriter, Lost, StoreError
from app.replication.layout import FileRef
from app.replication.local import LocalDatabase
from app.replication.ltx import LtxFile, has_pages
from app.replication.tasks import Signal

T = TypeVar("T")
# Epochs whose end is remembered, for requests that began in them.
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
"""Errors that mean that the local file, not the replica, is spoiled: the copy is dropped and built again."""
Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs blocking local work, in a thread in production."""


class Schema(Protocol):
    """What a profile's database must look like before anyone uses it."""

    def is_behind(self, connection: apsw.Connection) -> bool:
        """Whether ``migrate`` would change anything. May raise to refuse a database that is too new."""

    def migrate(self, connection: apsw.Connection) -> object:
        """Bring the schema up, inside the caller's transaction."""


class State(Enum):
    """See the module's docstring."""

    EMPTY = "empty"
    BEHIND = "behind"
    FOLLOWING = "following"
    OWNING = "owning"
    CLOSED = "closed"


@dataclass(frozen=True)
class Ticket:
    """What must be in the replica before an answer may leave: commit ``seq`` of ``epoch``."""

    epoch: int
    seq: int


class LocalCopy:
    """No lock is held while the store is asked. ``writer`` names the Machine that wrote the newest file that the copy
    holds, empty where that file names none. ``dropped_at`` is the TXID of the copy that was dropped last."""

    def __init__(self, path: Path, schema: Schema, run: Run, signal: Signal) -> None:
        self.path, self.schema, self.run = path, schema, run
        self.database: LocalDatabase | None = None
        self.epoch = 0
        self.writer = ""
        self.dropped_at = 0
        self._state = State.EMPTY
        self._signal = signal
        self._over: dict[int, tuple[int, Exception]] = {}
        self._turn = asyncio.Lock()

    @property
    def state(self) -> State:
        return self._state

    @property
    def owning(self) -> bool:
        return self._state is State.OWNING

    @property
    def pending(self) -> bool:
        """Whether there are commits that the replica does not hold."""
        return self.database is not None and self.database.durable < self.database.seq

    async def locally(self, work: Callable[[], T]) -> T:
        """Run work on the local copy, one piece at a time: a slow one must not fill the threads that all share."""
        async with self._turn:
            result: T = await self.run(work)
        return result

    async def on(self, database: LocalDatabase, work: Callable[[], T]) -> T:
        """Work on this database. Raises ``Lost``, after the copy was dropped, where the disk has spoiled it."""
        try:
            return await self.locally(work)
        except BROKEN_COPY as error:
            if self.database is database:
                await self.dropped(error)
            raise Lost(error) from error

    async def read(
        self, database: LocalDatabase, query: Callable[[apsw.Connection], T], seen: Ticket | None
    ) -> tuple[T, Ticket] | None:
        """What a query shows; None where the copy was replaced or fell behind in the meantime. Raises ``Lost`` where
        what the caller has ``seen`` was taken back."""

        def work() -> tuple[T, Ticket] | None:
            if seen is not None and seen.epoch != self.epoch and not self.kept(seen):
                raise self.lost(seen.epoch)
            if self.database is not database or self._state is State.BEHIND:
                return None
            epoch = self.epoch
            result, seq = database.read(query)
            return result, Ticket(epoch, seq)

        return await self.on(database, work)

    async def write(
        self, database: LocalDatabase, change: Callable[[apsw.Connection], T], seen: Ticket | None
    ) -> tuple[T, Ticket, bool] | None:
        """One transaction: its result, its ticket, and whether it committed anything. None, and nothing done, where
        this Machine does not own the profile any more.

        Raises ``Lost`` where the view that the caller has ``seen`` was replaced, and ``Declined`` for what ``change``
        raises.
        """

        def work() -> tuple[T, Ticket, bool] | None:
            if seen is not None and seen.epoch != self.epoch:
                raise self.lost(seen.epoch)
            if self.database is not database or not self.owning:
                return None
            epoch, before = self.epoch, database.seq
            try:
                result, seq = database.write(change)
            except BROKEN_COPY:
                raise
            except Exception as error:
                raise Declined(error, Ticket(epoch, before)) from error
            return result, Ticket(epoch, seq), seq != before

        return await self.on(database, work)

    def kept(self, ticket: Ticket) -> bool:
        """Whether the replica holds what the ticket stands for, as far as this Machine knows."""
        if ticket.epoch != self.epoch:
            return ticket.epoch in self._over and ticket.seq <= self._over[ticket.epoch][0]
        return self.database is not None and ticket.seq <= self.database.durable

    def lost(self, epoch: int) -> Lost:
        """The error for commits of ``epoch`` that were not durable. Its cause is what ended the epoch."""
        return Lost(self._over[epoch][1] if epoch in self._over else StoreError("it is too long ago to tell"))

    async def built(self, files: Sequence[LtxFile], newest: str, writer: str) -> None:
        """EMPTY → FOLLOWING or BEHIND: rebuild the database from its files. Raises ``Damaged``, naming ``newest``."""

        def work() -> tuple[LocalDatabase, bool]:
            with self._fresh() as database:
                try:
                    database.replace(files)
                    return database, database.read(self.schema.is_behind)[0]
                except (apsw.CorruptError, apsw.NotADBError, ValueError) as error:
                    raise Damaged(newest, f"the files up to this one make no database: {error}") from error

        self.database, behind = await self.locally(work)
        self.writer = writer
        self._enter(State.BEHIND if behind else State.FOLLOWING)

    async def begun(self, image: Callable[[], bytes | None], *, uploaded_first: bool) -> None:
        """EMPTY → FOLLOWING or BEHIND: the first copy of a profile without a replica, from a whole ``image`` or new.
        All its pages go into TXID 1, which is created before anyone reads where ``uploaded_first``."""

        def work() -> LocalDatabase:
            with self._fresh() as database:
                database.replace([], image())
                database.write(self.schema.migrate)
                database.mark_durable(0, database.seq)
                return database

        self.database, self.writer = await self.locally(work), ""
        self._enter(State.BEHIND if uploaded_first else State.FOLLOWING)

    async def claimed(self, database: LocalDatabase, txid: int, writer: str) -> None:
        """→ OWNING: the claim ``txid`` is in the replica. Brings the schema up, which is the first commit behind it."""

        def work() -> None:
            database.mark_durable(txid, database.durable)
            if database.read(self.schema.is_behind)[0]:
                database.write(self.schema.migrate)

        await self.locally(work)
        self.writer = writer
        self._enter(State.OWNING)

    async def overtaken(
        self, database: LocalDatabase, found: Sequence[tuple[FileRef, bytes]], files: Callable[[], list[LtxFile]]
    ) -> None:
        """→ FOLLOWING or BEHIND: take another writer's files in; commits that were not durable are dropped. Raises
        ``Damaged`` for files that do not follow, and what the schema raises for one that is too new."""

        def work() -> tuple[str, bool, bool]:
            decoded = files()
            dropped = database.apply(decoded)
            # In the same turn: no other work may get at the copy before its schema was looked at.
            return decoded[-1].header.machine, dropped, database.read(self.schema.is_behind)[0]

        if self.owning:
            self._enter(State.FOLLOWING)
        try:
            writer, dropped, behind = await self.locally(work)
        except ValueError as error:
            raise Damaged(found[-1][0].name, str(error)) from error
        except Damaged:
            raise
        except Exception as error:
            await self.dropped(error)
            raise
        if self.database is not database:
            return
        self.writer = writer
        if dropped or any(has_pages(data) for _, data in found):
            self._next_epoch(Fenced(*found[-1]), database)
        self._enter(State.BEHIND if behind else State.FOLLOWING)

    async def gave_way(self, database: LocalDatabase, cause: Exception) -> None:
        """OWNING → FOLLOWING or BEHIND: an upload failed. Take back what is not durable; whether the store holds it
        after all, the next look tells."""
        if self.owning:
            self._enter(State.FOLLOWING)

        def work() -> bool:
            database.roll_back()
            # What was taken back may be a migration.
            return database.read(self.schema.is_behind)[0]

        try:
            behind = await self.locally(work)
        except BROKEN_COPY:
            await self.dropped(cause)
        else:
            self._next_epoch(cause, database)
            self._enter(State.BEHIND if behind else State.FOLLOWING)

    async def dropped(self, cause: Exception, *, for_good: bool = False) -> None:
        """→ EMPTY: the next use builds the copy again. ``for_good`` → CLOSED: only another object may build one."""
        database, self.database = self.database, None
        self._enter(State.CLOSED if for_good else State.EMPTY)
        if database is not None:
            await self.locally(database.remove)
            # Only now: an upload that was on its way may have ended while this waited for its turn.
            self.dropped_at = database.txid
        self._next_epoch(cause, database)

    def _enter(self, state: State) -> None:
        if self._state is not State.CLOSED:
            self._state = state
        self._signal.notify()

    def _next_epoch(self, cause: Exception, database: LocalDatabase | None) -> None:
        self._over[self.epoch] = (database.durable if database else -1, cause)
        self._over.pop(self.epoch - _EPOCHS, None)
        self.epoch += 1
        self._signal.notify()

    @contextlib.contextmanager
    def _fresh(self) -> Iterator[LocalDatabase]:
        """A database at the path; nothing is left on the disk where it cannot be used."""
        database = LocalDatabase(self.path)
        try:
            yield database
        except BaseException:
            database.remove()
            raise
