"""One profile's replica as one Machine drives it: open, claim, upload in groups, catch up, or give way.

No lock is held while the store is asked: work that only one may do is a single task that everyone awaits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw

from app.replication.core import Options, Refusal, catch_up_plan, judge_refusal, must_look_up, prune, read_is_fresh
from app.replication.fetched import decoded, planned
from app.replication.fetching import Fetching, fetch
from app.replication.layout import FileRef, highest, restore_plan, transaction
from app.replication.legacy import LEGACY_NAME, NotADatabase, prepared
from app.replication.local import Batch, LocalDatabase
from app.replication.ltx import Header, LtxFile, encode
from app.replication.outcomes import Damaged, Fenced, Lost, Outdated, Ticket
from app.replication.pages import ForeignWriter
from app.replication.store import FileExists, NewFile, ReplicaStore, StoreError

T = TypeVar("T")
# Share of an upload's time that the next one waits for more commits, where the last one was of more than one.
_GATHERING = 0.02
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


@dataclass
class _Outgoing:
    """A file on its way to the store, and the commits in it; neither before it is made. A claim holds no commits."""

    file: NewFile | None = None
    batch: Batch | None = None


class Schema(Protocol):
    """What a profile's database must look like before anyone uses it."""

    def is_behind(self, connection: apsw.Connection) -> bool:
        """Whether ``migrate`` would change anything. May raise to refuse a database that is too new."""
        ...

    def migrate(self, connection: apsw.Connection) -> None:
        """Bring the schema up, inside the caller's transaction."""
        ...


class Replica:
    """Reads and writes of one profile on this Machine. Made without I/O; opens itself at the first use.

    ``node`` is random for each start of the process. ``run`` runs blocking local work (in a thread in production),
    ``now`` is a monotonic clock in seconds, ``wall_ms`` the wall clock, used for nothing but timestamps that people
    read. Every method raises ``StoreError`` when the store cannot be asked and ``Damaged`` when it holds nonsense.
    """

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
        self._lost: Exception = StoreError("nothing was lost yet")
        self._checked: float | None = None
        self.verified: float | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._writes: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closed = False
        self._pause = 0.0

    # -- what requests and jobs call

    async def read(self, query: Callable[[apsw.Connection], T]) -> tuple[T, Ticket]:
        """The query's result, and what must be in the replica before anyone may see it."""
        started = self._now()
        database = await self._opened()
        while not read_is_fresh(self._checked, started, self.options):
            await self._steer(self._refresh)
            database = await self._opened()
        epoch = self.epoch
        try:
            result, seq = await self.locally(lambda: database.read(query))
        except BROKEN_COPY as error:
            await self._lose(database, error)
            raise Lost(error) from error
        return result, Ticket(epoch, seq)

    async def write(self, change: Callable[[apsw.Connection], T]) -> tuple[T, Ticket]:
        """Run one transaction on a copy that this Machine has claimed; its upload begins at once."""
        database = self._database
        idle = not (self._tasks or self._pending or self._pause)
        if database is not None and self.owner and idle and self.store.has_room():
            return await self._write_through(database, change)
        # A client that goes away must not leave a commit behind that no one uploads.
        task = asyncio.ensure_future(self._write(change))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def settle(self, ticket: Ticket) -> None:
        """Return when the replica holds what the ticket stands for. Raises ``Lost`` when that was dropped."""
        while True:
            database = self._database
            if ticket.epoch != self.epoch or database is None:
                raise Lost(self._lost)
            if database.durable >= ticket.seq:
                return
            changed = self._changed
            self._kick()
            await changed.wait()

    async def close(self) -> None:
        """Wait for what is under way, then drop the local copy."""
        while self._writes or self._tasks:
            await asyncio.gather(*self._writes, *self._tasks.values(), return_exceptions=True)
        # Whoever still holds this replica must not build a second copy where the next one's will lie.
        self._closed = True
        await self._drop(StoreError("the database was closed"))

    async def rest(self) -> bool:
        """Close the connection of a replica that does nothing right now; False when it is busy."""
        if self.busy:
            return False
        self.before_rest()
        if self._database is not None:
            await self.locally(self._database.close)
        return True

    async def locally(self, work: Callable[[], T]) -> T:
        """Run work on the local copy, one piece at a time: a slow one must not fill the threads that all share."""
        async with self._turn:
            result: T = await self.run(work)
        return result

    @property
    def busy(self) -> bool:
        """Whether anything is under way or not yet durable: such a replica must not be evicted."""
        return bool(self._tasks or self._writes) or self._pending

    @property
    def disk_bytes(self) -> int:
        """Bytes that the local copy takes on the disk."""
        return self._database.disk_bytes if self._database else 0

    @property
    def _pending(self) -> bool:
        return self._database is not None and self._database.durable < self._database.seq

    @property
    def database(self) -> LocalDatabase | None:
        """The local copy, while there is one."""
        return self._database

    # -- opening and catching up

    async def _opened(self) -> LocalDatabase:
        while self._database is None:
            if self._closed:
                raise StoreError("the database was closed")
            await self._steer(self._open)
        return self._database

    async def _open(self) -> None:
        started = self._now()
        async with Fetching(self.store) as fetching:
            listed = await self.store.recent(fetching.ahead)
            plan = planned(restore_plan, listed.files)
            bodies = await fetching.bodies(plan)
        if plan:
            # In one piece after the GETs: threads that decode beside them take turns with theirs page by page.
            files = await self.run(
                lambda: [decoded(ref, data, with_index=False) for ref, data in zip(plan, bodies, strict=True)]
            )
            legacy = None
            # In turn: the copy before this one may still be on its way off the disk.
            database, behind = await self.locally(lambda: self._rebuilt(plan[-1], files))
        else:
            legacy = await self.store.legacy()
            database, behind = await self.locally(lambda: self._first_copy(legacy)), False
        self._database, self.files, self.owner = database, planned(prune, listed.files), False
        self._checked, self.verified = started, listed.date
        self._next_epoch()
        if behind or legacy is not None:
            # A reader too must see the new schema, and pages that the replica lacks may not stand in the local file.
            try:
                await self._claim()
            except (StoreError, Damaged) as error:
                await self._drop(error)
                raise

    def _rebuilt(self, newest: FileRef, files: Sequence[LtxFile]) -> tuple[LocalDatabase, bool]:
        """The copy, and whether its schema is behind. Nothing is left on the disk when it cannot be used."""
        database = LocalDatabase(self.path)
        try:
            database.replace(files)
            return database, database.read(self.schema.is_behind)[0]
        except (apsw.CorruptError, apsw.NotADBError, ValueError) as error:
            database.remove()
            raise Damaged(newest.name, f"the files up to this one make no database: {error}") from error
        except BaseException:
            database.remove()
            raise

    def _first_copy(self, legacy: bytes | None) -> LocalDatabase:
        """A copy for an empty replica: the whole-file database of old, or a new one. All its pages go into TXID 1."""
        database = LocalDatabase(self.path)
        try:
            database.replace([], prepared(legacy, self.path.parent) if legacy is not None else None)
            database.write(self.schema.migrate)
        except NotADatabase as error:
            database.remove()
            raise Damaged(LEGACY_NAME, str(error)) from error
        except BaseException:
            database.remove()
            raise
        database.mark_durable(0, database.seq)
        return database

    async def _refresh(self) -> None:
        """Look for files that another Machine wrote. An own upload that succeeds meanwhile says the same."""
        started = self._now()
        await self._uploaded()
        database = self._database
        if database is None or (self._checked is not None and self._checked >= started):
            return
        ref, asked = transaction(database.txid + 1), self._now()
        data, date = await self.store.probe(ref)
        if self._database is not database or database.txid + 1 != ref.min_txid or "upload" in self._tasks:
            return
        if data is not None:
            await self._take_next(database, ref, data)
            await self._catch_up(database)
        elif must_look_up(self.verified, date, self.options.retention):
            await self._catch_up(database)
        self._checked, self.verified = asked, date

    async def _catch_up(self, database: LocalDatabase) -> None:
        """List, and take in whatever is newer than the local copy."""
        listed = await self.store.recent()
        plan = planned(catch_up_plan, listed.files, database.txid)
        if plan:
            await self._take_in(database, list(zip(plan, await fetch(self.store, plan), strict=True)))
        self.files = planned(prune, listed.files)
        self.verified = listed.date

    async def _take_next(self, database: LocalDatabase, ref: FileRef, data: bytes) -> None:
        """Take in the next file. One that is broken may be behind a snapshot that mends it."""
        try:
            await self._take_in(database, [(ref, data)])
        except Damaged:
            await self._catch_up(database)

    async def _take_in(self, database: LocalDatabase, found: Sequence[tuple[FileRef, bytes]]) -> None:
        """Apply another writer's files; whatever of ours was not durable loses against them."""
        self.owner = False
        try:
            dropped = await self.locally(lambda: database.apply([decoded(ref, data) for ref, data in found]))
        except ValueError as error:
            raise Damaged(found[-1][0].name, str(error)) from error
        self.files += [ref for ref, _ in found]
        if dropped:
            self._lost = Fenced(*found[-1])
            self._next_epoch()

    # -- claiming, writing, uploading

    async def _write(self, change: Callable[[apsw.Connection], T]) -> tuple[T, Ticket]:
        database = await self._opened()
        if database.crowded:
            await self.settle(Ticket(self.epoch, database.seq))
        while not self.owner:
            await self._steer(self._claim)
            database = await self._opened()
        epoch = self.epoch
        try:
            result, seq = await self.locally(lambda: database.write(change))
        except BROKEN_COPY as error:
            await self._lose(database, error)
            raise Lost(error) from error
        self._kick()
        return result, Ticket(epoch, seq)

    async def _write_through(self, database: LocalDatabase, change: Callable[[apsw.Connection], T]) -> tuple[T, Ticket]:
        """The write of one who is alone: the thread that commits uploads what it committed. Waits for the commit."""
        committed: asyncio.Future[tuple[T, Ticket]] = asyncio.get_running_loop().create_future()
        upload = self._start("upload", lambda: self._commit_and_send(database, change, committed))

        def ended(_: asyncio.Task[None]) -> None:
            if not committed.done() and not upload.cancelled():
                committed.set_exception(upload.exception() or Lost(self._lost))

        upload.add_done_callback(ended)
        return await committed

    async def _commit_and_send(
        self,
        database: LocalDatabase,
        change: Callable[[apsw.Connection], T],
        committed: asyncio.Future[tuple[T, Ticket]],
    ) -> None:
        epoch, outgoing = self.epoch, _Outgoing()
        done: list[tuple[T, int]] = []

        def make() -> NewFile | None:
            done.append(database.write(change))
            return self._group(database, outgoing)

        def made() -> None:
            # Whoever else needs the copy must not wait for the network.
            self._turn.release()
            if done and not committed.done():
                result, seq = done[0]
                committed.set_result((result, Ticket(epoch, seq)))

        await self._turn.acquire()
        try:
            sent = await self._sent(database, outgoing, self.store.create_made(make, made))
        except BROKEN_COPY as error:
            await self._lose(database, error)
            raise Lost(error) from error
        if sent:
            await self._upload()

    async def _claim(self) -> None:
        """Create the next file, empty and ours; what others wrote meanwhile is taken in, one file at a time."""
        while not self.owner:
            database = self._database
            if database is None:
                return
            ref, stamp = transaction(database.txid + 1), self.wall_ms()
            if ref.min_txid == 1:
                image = await self.locally(database.image)
                commit, pages = image.commit, image.pages
            else:
                commit, pages = await self.locally(lambda: database.commit), ()  # noqa: B023
            header = Header(database.page_size, commit, ref.min_txid, ref.max_txid, stamp, self.node)
            data = await self.run(lambda: encode(header, pages))  # noqa: B023
            started, file = self._now(), NewFile(ref, data, stamp)
            try:
                await self._created(_Outgoing(file), self.store.create(file))
            except Fenced as lost:
                await self._take_next(database, ref, lost.data)
                continue
            except Outdated as outdated:
                await self._drop(outdated)
                raise
            await self.locally(lambda: database.mark_durable(ref.max_txid, database.durable))  # noqa: B023
            self._advance(file, started)
            self.owner = True
            behind, _ = await self.locally(lambda: database.read(self.schema.is_behind))  # noqa: B023
            if behind:
                await self.locally(lambda: database.write(self.schema.migrate))  # noqa: B023
                self._kick()

    def _kick(self) -> None:
        """See to it that what was captured is uploaded."""
        if "upload" not in self._tasks and self._pending:
            self._start("upload", self._upload)

    def _group(self, database: LocalDatabase, outgoing: _Outgoing) -> NewFile | None:
        """The next file: everything that was committed and is not durable."""
        batch = database.take()
        if batch is None:
            return None
        ref, stamp = transaction(batch.txid), self.wall_ms()
        header = Header(database.page_size, batch.commit, ref.min_txid, ref.max_txid, stamp, self.node)
        outgoing.batch, outgoing.file = batch, NewFile(ref, encode(header, batch.pages), stamp)
        return outgoing.file

    async def _upload(self) -> None:
        """One file at a time, each with everything that was committed while the one before was on its way."""
        database = self._database
        while database is not None and database is self._database and database.durable < database.seq:
            if self._pause:
                # Whoever was answered just now writes again at once, mostly. Without this the first of them has a
                # file of its own, and all the others wait for it.
                await asyncio.sleep(self._pause)
            outgoing = _Outgoing()
            file = await self.locally(lambda: self._group(database, outgoing))  # noqa: B023
            if file is None or not await self._sent(database, outgoing, self.store.create(file)):
                return

    async def _sent(self, database: LocalDatabase, outgoing: _Outgoing, creating: Awaitable[float | None]) -> bool:
        """Whether there was something to send and the store holds it now. Where it does not, this Machine gives way."""
        started = self._now()
        try:
            await self._created(outgoing, creating)
        except (Fenced, StoreError) as lost:
            await self._give_way(database, lost)
            return False
        except Outdated as lost:
            await self._drop(lost)
            return False
        file, batch = outgoing.file, outgoing.batch
        if file is None or batch is None:
            return False
        commits = batch.seq - database.durable
        txid = file.ref.max_txid
        if not database.try_mark_durable(txid, batch.seq, batch.life):
            await self.locally(lambda: database.mark_durable(txid, batch.seq, batch.life))
        self._pause = _GATHERING * (self._now() - started) if commits > 1 else 0.0
        if not self._pending:
            # Before anyone is woken: the task is as good as done, and who writes next need not wait for its end.
            self._tasks.pop("upload", None)
        self._advance(file, started)
        return True

    async def _created(self, outgoing: _Outgoing, creating: Awaitable[float | None]) -> None:
        """Await the creation of the file. Raises ``Fenced``, ``Outdated`` or ``StoreError``."""
        refused = False
        try:
            date = await creating
        except FileExists:
            refused, date = True, None
        if (file := outgoing.file) is None:
            return
        ref = file.ref
        if refused:
            found, date = await self.store.probe(ref)
            if found is None:
                raise StoreError(f"{ref.name} was there and then was not")
            if judge_refusal(file.data, found) is Refusal.FENCED:
                raise Fenced(ref, found)
        assert date is not None
        if must_look_up(self.verified, date, self.options.retention):
            listed = await self.store.recent()
            date = listed.date
            if highest(listed.files) > ref.max_txid:
                raise Outdated(f"{ref.name} was written behind files that others had written long before")
        self.verified = date

    def _advance(self, file: NewFile, started: float) -> None:
        date, ref = self.verified or 0.0, file.ref
        self.files.append(FileRef(ref.level, ref.min_txid, ref.max_txid, len(file.data), date))
        self._checked = started
        self._notify()
        self.after_upload(self.files[-1], file.data, date)

    async def _give_way(self, database: LocalDatabase, cause: Exception) -> None:
        """Take back what did not become durable. Whether the store has it after all, the next look tells."""
        self.owner, self._lost, self._checked = False, cause, None
        await self.locally(database.roll_back)
        self._next_epoch()

    async def _lose(self, database: LocalDatabase, cause: Exception) -> None:
        """Let a copy go that this disk spoiled, unless that was done already."""
        if self._database is database:
            await self._drop(cause)

    async def _drop(self, cause: Exception) -> None:
        """Let the local copy go: the next use builds it again."""
        database, self._database = self._database, None
        self.owner, self._lost, self._checked = False, cause, None
        if database is not None:
            await self.locally(database.remove)
        self._next_epoch()

    # -- tasks that everyone shares

    def aside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start maintenance unless it is under way; it counts as busy and is waited for on closing."""
        if "aside" not in self._tasks:
            self._start("aside", work)

    async def _steer(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do ``work``, or wait for what another one does to the copy: one opens, looks or claims at a time.

        Whether that was enough is for the caller to look at. The task outlives a caller that goes away.
        """
        task = self._tasks.get("steer")
        if task is None or task.done():
            # One that is done stands there until its callbacks run, and awaiting it would not let them: a caller that
            # looks, finds it not enough and comes back would spin for ever.
            task = self._start("steer", lambda: self._guarded(work))
        await asyncio.shield(task)

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except BROKEN_COPY as error:
            await self._drop(error)
            raise Lost(error) from error

    def _start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work())
        self._tasks[name] = task

        def ended(ended_task: asyncio.Task[None]) -> None:
            if self._tasks.get(name) is ended_task:
                del self._tasks[name]
            if not ended_task.cancelled() and ended_task.exception() is None and name == "upload":
                self._kick()
            self._notify()

        task.add_done_callback(ended)
        return task

    async def _uploaded(self) -> None:
        """Wait until no upload is under way."""
        while (task := self._tasks.get("upload")) is not None:
            await asyncio.wait((task,))

    def _next_epoch(self) -> None:
        self.epoch += 1
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
