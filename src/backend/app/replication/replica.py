"""One profile's replica as one Machine drives it: open, claim, read, write."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import apsw

from app.replication.core import prune, read_is_fresh
from app.replication.fetched import decoded, planned
from app.replication.fetching import Fetching
from app.replication.following import Following
from app.replication.layout import FileRef, restore_plan, transaction
from app.replication.legacy import LEGACY_NAME, NotADatabase, prepared
from app.replication.local import LocalDatabase
from app.replication.ltx import Header, LtxError, LtxFile, encode, has_pages, read_header
from app.replication.outcomes import Damaged, Fenced, Lost, Outdated, Ticket
from app.replication.store import NewFile, StoreError
from app.replication.uploads import Outgoing

T = TypeVar("T")
# How long another Machine's first write may take, in times of one's own create that came too late; at most so many
# seconds, as that one may have taken hours by the clock of a process that was stopped.
_FIRST_WRITE, _FIRST_WRITE_SECONDS = 2.0, 5.0
# Seconds after which a claim that others forestall again and again is given up.
_CLAIM_SECONDS = 20.0


class Replica(Following):
    """Reads and writes of one profile on this Machine. Made without I/O; opens itself at the first use.

    ``node`` is random for each start of the process. ``run`` runs blocking local work (in a thread in production),
    ``now`` is a monotonic clock in seconds, ``wall_ms`` the wall clock, for timestamps that people read and to
    notice a suspend. Every method raises ``StoreError`` when the store cannot be asked and ``Damaged`` when it holds
    nonsense.
    """

    async def read(
        self, query: Callable[[apsw.Connection], T], seen: Ticket | None = None, *, look: bool = False
    ) -> tuple[T, Ticket]:
        """The query's result, and what must be in the replica before anyone may see it.

        ``look`` asks the store for newer files whatever `Options.read_check` says. Raises ``Lost`` where what the
        caller has ``seen`` before was dropped since.
        """
        started = self._moment()
        options = dataclasses.replace(self.options, read_check=0.0) if look else self.options
        while True:
            database = await self._opened()
            while not read_is_fresh(self._checked, started, options):
                await self._steer(self._refresh, lambda: read_is_fresh(self._checked, started, options))
                database = await self._opened()
            found = await self._on(database, lambda: self._seen(database, query, seen))  # noqa: B023
            if found is not None:
                return found

    async def write(self, change: Callable[[apsw.Connection], T], seen: Ticket | None = None) -> tuple[T, Ticket]:
        """Run one transaction on a copy that this Machine has claimed; its upload begins at once.

        Nothing is written, and ``Lost`` is raised, where the view that the caller has ``seen`` was replaced since: by
        changes of another Machine, or because what it showed was dropped.
        """
        database = self._database
        idle = not (self._tasks or self._pending or self._pause)
        if database is not None and self.owner and idle and self.store.has_room() and self._take_turn():
            found = await self._write_through(database, change, seen)
            if found is not None:
                return found
        # A client that goes away must not leave a commit behind that no one uploads.
        task = asyncio.ensure_future(self._write(change, seen))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    def _seen(
        self, database: LocalDatabase, query: Callable[[apsw.Connection], T], seen: Ticket | None
    ) -> tuple[T, Ticket] | None:
        """What a query shows; None where files of an older release were taken in on the way to it."""
        self._expect_kept(seen)
        if self._unfit:
            return None
        result, seq = database.read(query)
        return result, Ticket(self.epoch, seq)

    async def settle(self, ticket: Ticket) -> None:
        """Return when the replica holds what the ticket stands for. Raises ``Lost`` when that was dropped."""
        while not self.kept(ticket):
            if ticket.epoch != self.epoch:
                raise self._lost(ticket.epoch)
            changed = self._changed
            self._kick()
            await changed.wait()

    async def close(self) -> None:
        """Wait for what is under way, then drop the local copy."""
        while self._writes or self._tasks:
            await asyncio.gather(*self._writes, *self._tasks.values(), return_exceptions=True)
        await self._handover.end()
        # Whoever still holds this replica must not build a second copy where the next one's will lie.
        self._closed = True
        await self._drop(StoreError("the database was closed"))

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
        self._notify()
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

    async def _write(self, change: Callable[[apsw.Connection], T], seen: Ticket | None) -> tuple[T, Ticket]:
        while True:
            database = await self._opened()
            if database.crowded:
                await self.settle(Ticket(self.epoch, database.seq))
            if not self.owner:
                await self._handover.courtesy()
                await self._steer(self._claim)
                continue
            found = await self._on(database, lambda: self._committed(database, change, seen))  # noqa: B023
            if found is not None:
                self._kick()
                return found

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
                await self._created(Outgoing(file), self.store.create(file))
            except Fenced as lost:
                await self._take_next(database, ref, lost.data)
                if self._now() - began > _CLAIM_SECONDS:
                    raise Lost(lost) from lost
                if ref.min_txid == 1 or not has_pages(lost.data):
                    # A claim: who made it has not written yet, and would lose what it is about to.
                    took = self._now() - started.monotonic
                    await asyncio.sleep(min(_FIRST_WRITE * took, _FIRST_WRITE_SECONDS))
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

    async def _withdraw(self, node: int) -> None:
        """Take a request back that was answered by a pause."""
        with contextlib.suppress(StoreError):
            await self.store.take_request(node)


def _node(data: bytes) -> int:
    """Whose file it is; 0 where that cannot be told."""
    try:
        return read_header(data).node
    except LtxError:
        return 0
