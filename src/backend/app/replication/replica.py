"""One profile's replica as one Machine drives it: open, claim, upload in groups, catch up, or give way.

No lock is held while the store is asked: work that only one may do is a single task that everyone awaits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw

from app.replication.core import (
    Moment,
    Options,
    Refusal,
    catch_up_plan,
    judge_refusal,
    must_look_up,
    prune,
    read_is_fresh,
)
from app.replication.fetched import decoded, planned
from app.replication.fetching import Fetching, fetch
from app.replication.handover import Handover
from app.replication.layout import FileRef, highest, restore_plan, transaction
from app.replication.legacy import LEGACY_NAME, NotADatabase, prepared
from app.replication.local import Batch, LocalDatabase
from app.replication.ltx import Header, LtxError, LtxFile, encode, has_pages, read_header
from app.replication.outcomes import Damaged, Fenced, Lost, Outdated, Ticket
from app.replication.pages import ForeignWriter
from app.replication.store import FileExists, NewFile, ReplicaStore, StoreError

T = TypeVar("T")
# How many of the next files a claimant that came too late looks for side by side before it lists.
_AHEAD = 4
# How long another Machine's first write may take, in times of one's own create that came too late.
_FIRST_WRITE = 2.0
# Seconds after which a claim that others forestall again and again is given up.
_CLAIM_SECONDS = 20.0
# Epochs whose durable commits are remembered, for requests that began in them.
_EPOCHS = 256
# Share of an upload's time that the next one waits for more commits, where the last one was of more than one.
# Never longer than this, though: a process that was stopped amid an upload takes hours for it by its clock.
_GATHERING, _GATHERING_SECONDS = 0.02, 0.1
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
        self._checked: Moment | None = None
        self._unfit = False
        self._kept: dict[int, int] = {}
        self._handover = Handover(store, node, now)
        self.verified: float | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._writes: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closed = False
        self._pause = 0.0

    # -- what requests and jobs call

    async def read(self, query: Callable[[apsw.Connection], T], epoch: int | None = None) -> tuple[T, Ticket]:
        """The query's result, and what must be in the replica before anyone may see it.

        Raises ``Lost`` where what the caller saw in ``epoch`` was dropped since.
        """
        started = self._moment()
        while True:
            database = await self._opened()
            while not read_is_fresh(self._checked, started, self.options):
                await self._steer(self._refresh, lambda: read_is_fresh(self._checked, started, self.options))
                database = await self._opened()
            try:
                found = await self.locally(lambda: self._seen(database, query, epoch))  # noqa: B023
            except BROKEN_COPY as error:
                await self._lose(database, error)
                raise Lost(error) from error
            if found is not None:
                return found

    async def write(self, change: Callable[[apsw.Connection], T], epoch: int | None = None) -> tuple[T, Ticket]:
        """Run one transaction on a copy that this Machine has claimed; its upload begins at once.

        Nothing is written where what the caller saw in ``epoch`` was dropped since: ``Lost``.
        """
        database = self._database
        idle = not (self._tasks or self._pending or self._pause)
        if database is not None and self.owner and idle and self.store.has_room():
            found = await self._write_through(database, change, epoch)
            if found is not None:
                return found
        # A client that goes away must not leave a commit behind that no one uploads.
        task = asyncio.ensure_future(self._write(change, epoch))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def settle(self, ticket: Ticket) -> None:
        """Return when the replica holds what the ticket stands for. Raises ``Lost`` when that was dropped."""
        while not self.kept(ticket):
            if ticket.epoch != self.epoch or self._database is None:
                raise Lost(self._lost)
            changed = self._changed
            self._kick()
            await changed.wait()

    def kept(self, ticket: Ticket) -> bool:
        """Whether the replica holds what the ticket stands for, as far as this Machine knows."""
        if ticket.epoch != self.epoch:
            return ticket.seq <= self._kept.get(ticket.epoch, -1)
        return self._database is not None and ticket.seq <= self._database.durable

    async def close(self) -> None:
        """Wait for what is under way, then drop the local copy."""
        while self._writes or self._tasks:
            await asyncio.gather(*self._writes, *self._tasks.values(), return_exceptions=True)
        await self._handover.end()
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
        """The copy, fit for everyone: whoever comes while it is built or its schema brought up waits."""
        while (database := self._database) is None or self._unfit:
            if self._closed:
                raise StoreError("the database was closed")
            await self._steer(self._build if database is None else self._make_fit)
        return database

    async def _build(self) -> None:
        started = self._moment()
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
            database, unfit = await self.locally(lambda: self._rebuilt(plan[-1], files))
        else:
            legacy = await self.store.legacy()
            database, unfit = await self.locally(lambda: self._first_copy(legacy)), legacy is not None
        self._database, self.files, self.owner, self._unfit = database, planned(prune, listed.files), False, unfit
        self._checked, self.verified = started, listed.date
        self._next_epoch()
        if unfit:
            await self._make_fit()

    async def _make_fit(self) -> None:
        """Claim: a reader too must see the new schema, and pages that the replica lacks may not stand in the local
        file. A copy that cannot be made fit is let go."""
        try:
            await self._claim(lambda: not self._unfit)
        except Exception as error:
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
        started = self._moment()
        while "upload" in self._tasks and not self._checked_since(started):
            # Not for the upload's end: a busy writer's never comes.
            await self._changed.wait()
        database = self._database
        if database is None or self._checked_since(started):
            return
        ref, asked, epoch = transaction(database.txid + 1), self._moment(), self.epoch
        data, date = await self.store.probe(ref)
        if self.epoch != epoch or database.txid + 1 != ref.min_txid or "upload" in self._tasks:
            # An upload of our own that ended meanwhile knows better.
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

        def work() -> bool:
            dropped = database.apply([decoded(ref, data) for ref, data in found])
            # Known before anyone else gets at the copy.
            self._unfit = True
            return dropped

        try:
            dropped = await self.locally(work)
        except ValueError as error:
            raise Damaged(found[-1][0].name, str(error)) from error
        try:
            self._unfit = (await self.locally(lambda: database.read(self.schema.is_behind)))[0]
        except Exception as error:
            # A schema that is newer than this release among them: each use says so, before anything is claimed.
            await self._drop(error)
            raise
        self.files += [ref for ref, _ in found]
        if dropped:
            self._lost = Fenced(*found[-1])
            self._next_epoch()

    # -- claiming, writing, uploading

    def _seen(
        self, database: LocalDatabase, query: Callable[[apsw.Connection], T], epoch: int | None
    ) -> tuple[T, Ticket] | None:
        """What a query shows; None where files of an older release were taken in on the way to it."""
        self._expect(epoch)
        if self._unfit:
            return None
        result, seq = database.read(query)
        return result, Ticket(self.epoch, seq)

    def _committed(
        self, database: LocalDatabase, change: Callable[[apsw.Connection], T], epoch: int | None
    ) -> tuple[T, Ticket] | None:
        """One transaction; None, and nothing done, where the profile was given up on the way to it."""
        self._expect(epoch)
        if not self.owner or self._database is not database:
            return None
        result, seq = database.write(change)
        return result, Ticket(self.epoch, seq)

    def _expect(self, epoch: int | None) -> None:
        """Raises ``Lost`` where what was seen in ``epoch`` was dropped since."""
        if epoch is not None and epoch != self.epoch:
            raise Lost(self._lost)

    async def _write(self, change: Callable[[apsw.Connection], T], epoch: int | None) -> tuple[T, Ticket]:
        while True:
            database = await self._opened()
            if database.crowded:
                await self.settle(Ticket(self.epoch, database.seq))
            if not self.owner:
                await self._handover.courtesy()
                await self._steer(self._claim)
                continue
            try:
                found = await self.locally(lambda: self._committed(database, change, epoch))  # noqa: B023
            except BROKEN_COPY as error:
                await self._lose(database, error)
                raise Lost(error) from error
            if found is not None:
                self._kick()
                return found

    async def _write_through(
        self, database: LocalDatabase, change: Callable[[apsw.Connection], T], epoch: int | None
    ) -> tuple[T, Ticket] | None:
        """The write of one who is alone: the thread that commits uploads what it committed. Waits for the commit."""
        committed: asyncio.Future[tuple[T, Ticket] | None] = asyncio.get_running_loop().create_future()
        upload = self._start("upload", lambda: self._commit_and_send(database, change, epoch, committed))

        def ended(_: asyncio.Task[None]) -> None:
            if not committed.done() and not upload.cancelled():
                committed.set_exception(upload.exception() or Lost(self._lost))

        upload.add_done_callback(ended)
        return await committed

    async def _commit_and_send(
        self,
        database: LocalDatabase,
        change: Callable[[apsw.Connection], T],
        epoch: int | None,
        committed: asyncio.Future[tuple[T, Ticket] | None],
    ) -> None:
        outgoing = _Outgoing()
        done: list[tuple[T, Ticket] | None] = []

        def make() -> NewFile | None:
            done.append(self._committed(database, change, epoch))
            return self._group(database, outgoing)

        def made() -> None:
            # Whoever else needs the copy must not wait for the network.
            self._turn.release()
            if done and not committed.done():
                committed.set_result(done[0])

        await self._turn.acquire()
        try:
            sent = await self._sent(database, outgoing, self.store.create_made(make, made))
        except BROKEN_COPY as error:
            await self._lose(database, error)
            raise Lost(error) from error
        except Exception as error:
            if done:
                await self._drop(error)
            raise
        if sent and self._pending:
            await self._upload()

    async def _claim(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Create the next file, empty and ours, and bring the schema up; what others wrote meanwhile is taken in.

        Ends sooner where that was ``enough``.
        """
        began, lost_to, asked = self._now(), 0, 0
        while not self.owner and not enough():
            # Commits of before this Machine gave the profile up may still be on their way.
            while "upload" in self._tasks or self._pending:
                self._kick()
                await self._changed.wait()
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
            started, file = self._moment(), NewFile(ref, data, stamp)
            try:
                await self._created(_Outgoing(file), self.store.create(file))
            except Fenced as lost:
                await self._take_next(database, ref, lost.data)
                if self._now() - began > _CLAIM_SECONDS:
                    raise Lost(lost) from lost
                if ref.min_txid == 1 or not has_pages(lost.data):
                    # A claim: who made it has not written yet, and would lose what it is about to.
                    await asyncio.sleep(_FIRST_WRITE * (self._now() - started.monotonic))
                winner = _node(lost.data)
                if winner == lost_to:
                    # Not the first time: it does not pause by itself.
                    asked = winner
                    await asyncio.gather(self._follow(database), self.store.request(winner))
                else:
                    await self._follow(database)
                lost_to = winner
                continue
            except Outdated as outdated:
                await self._drop(outdated)
                raise
            await self.locally(lambda: database.mark_durable(ref.max_txid, database.durable))  # noqa: B023
            self._advance(file, started)
            await self.locally(lambda: self._migrate(database))  # noqa: B023
            self.owner, self._unfit = True, False
            self._kick()
        if asked:
            self._start("withdraw", lambda: self._withdraw(asked))

    def _migrate(self, database: LocalDatabase) -> None:
        if database.read(self.schema.is_behind)[0]:
            database.write(self.schema.migrate)

    async def _follow(self, database: LocalDatabase) -> None:
        """Take in what lies behind the file that forestalled a claim: a few files at once, more by a list."""
        started = self._moment()
        refs = [transaction(database.txid + 1 + number) for number in range(_AHEAD)]
        answers = await asyncio.gather(*(self.store.probe(ref) for ref in refs))
        found: list[tuple[FileRef, bytes]] = []
        for ref, (data, _) in zip(refs, answers, strict=True):
            if data is None:
                break
            found.append((ref, data))
        if len(found) == _AHEAD or must_look_up(
            self.verified, max(date for _, date in answers), self.options.retention
        ):
            await self._catch_up(database)
        elif found:
            await self._take_in(database, found)
        # Reads need not wait for the claim.
        self._checked = started
        self._notify()

    async def _withdraw(self, node: int) -> None:
        """Take a request back that was answered by a pause."""
        with contextlib.suppress(StoreError):
            await self.store.take_request(node)

    def _kick(self) -> None:
        """See to it that what was captured is uploaded."""
        if "upload" not in self._tasks and self._pending:
            self._start("upload", self._upload_or_drop)

    def _group(self, database: LocalDatabase, outgoing: _Outgoing) -> NewFile | None:
        """The next file: everything that was committed and is not durable."""
        batch = database.take()
        if batch is None:
            return None
        ref, stamp = transaction(batch.txid), self.wall_ms()
        header = Header(database.page_size, batch.commit, ref.min_txid, ref.max_txid, stamp, self.node)
        outgoing.batch, outgoing.file = batch, NewFile(ref, encode(header, batch.pages), stamp)
        return outgoing.file

    async def _upload_or_drop(self) -> None:
        try:
            await self._upload()
        except Exception as error:
            # Or those who wait for these commits would begin their upload anew for ever.
            await self._drop(error)
            raise

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
        started = self._moment()
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
        took = self._now() - started.monotonic
        self._pause = min(_GATHERING * took, _GATHERING_SECONDS) if commits > 1 else 0.0
        if self._handover.uploaded(took):
            self.owner = False
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

    def _advance(self, file: NewFile, started: Moment) -> None:
        date, ref = self.verified or 0.0, file.ref
        self.files.append(FileRef(ref.level, ref.min_txid, ref.max_txid, len(file.data), date))
        self._checked = started
        self._notify()
        # Whoever waits for this file is woken first.
        asyncio.get_running_loop().call_soon(self.after_upload, self.files[-1], file.data, date)

    async def _give_way(self, database: LocalDatabase, cause: Exception) -> None:
        """Take back what did not become durable. Whether the store has it after all, the next look tells."""
        self.owner, self._lost, self._checked = False, cause, None
        try:
            await self.locally(database.roll_back)
        except BROKEN_COPY:
            await self._drop(cause)
        else:
            self._next_epoch()

    async def _lose(self, database: LocalDatabase, cause: Exception) -> None:
        """Let a copy go that this disk spoiled, unless that was done already."""
        if self._database is database:
            await self._drop(cause)

    async def _drop(self, cause: Exception) -> None:
        """Let the local copy go: the next use builds it again."""
        database, self._database = self._database, None
        self.owner, self._unfit, self._lost, self._checked = False, False, cause, None
        if database is not None:
            self._kept[self.epoch] = database.durable
            await self.locally(database.remove)
        self._next_epoch()

    # -- tasks that everyone shares

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

    def _next_epoch(self) -> None:
        """What was not durable is gone; whoever waits for something of the old epoch is told by what is remembered."""
        if self._database is not None:
            self._kept[self.epoch] = self._database.durable
        self._kept.pop(self.epoch - _EPOCHS, None)
        self.epoch += 1
        self._notify()

    def _moment(self) -> Moment:
        return Moment(self._now(), self.wall_ms() / 1000)

    def _checked_since(self, started: Moment) -> bool:
        return self._checked is not None and self._checked.monotonic >= started.monotonic

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _node(data: bytes) -> int:
    """Whose file it is; 0 where that cannot be told."""
    try:
        return read_header(data).node
    except LtxError:
        return 0
