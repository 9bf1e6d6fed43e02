"""Commits on their way to the store: grouped, one file at a time, acknowledged when it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import apsw

from app.replication.core import Moment, Refusal, judge_refusal, must_look_up
from app.replication.held import BROKEN_COPY, HeldCopy
from app.replication.layout import FileRef, highest, transaction
from app.replication.local import Batch, LocalDatabase
from app.replication.ltx import Header, encode
from app.replication.outcomes import Fenced, Lost, Outdated, Ticket
from app.replication.store import FileExists, NewFile, StoreError

T = TypeVar("T")
# Share of an upload's time that the next one waits for more commits, where the last one was of more than one. Never
# longer than so many seconds: a process that was stopped amid an upload takes hours for it by its clock.
_GATHERING, _GATHERING_SECONDS = 0.02, 0.1


@dataclass
class Outgoing:
    """A file on its way to the store, and the commits in it; neither before it is made. A claim holds no commits."""

    file: NewFile | None = None
    batch: Batch | None = None


class Uploads(HeldCopy):
    """Commits, and uploads what was committed."""

    def _committed(
        self, database: LocalDatabase, change: Callable[[apsw.Connection], T], seen: Ticket | None
    ) -> tuple[T, Ticket] | None:
        """One transaction; None, and nothing done, where the profile was given up on the way to it."""
        self._expect_same_view(seen)
        if not self.owner or self._database is not database:
            return None
        result, seq = database.write(change)
        return result, Ticket(self.epoch, seq)

    async def _write_through(
        self, database: LocalDatabase, change: Callable[[apsw.Connection], T], seen: Ticket | None
    ) -> tuple[T, Ticket] | None:
        """The write of one who is alone and has the turn: the thread that commits uploads what it committed, and is at
        work while the rest is set up here. Waits for the commit."""
        committed: asyncio.Future[tuple[T, Ticket] | None] = asyncio.get_running_loop().create_future()
        outgoing, outgoing_epoch = Outgoing(), self.epoch
        done: list[tuple[T, Ticket] | None] = []

        def make() -> NewFile | None:
            done.append(self._committed(database, change, seen))
            return self._group(database, outgoing)

        def made() -> None:
            # Whoever else needs the copy must not wait for the network.
            self._turn.release()
            if done and not committed.done():
                committed.set_result(done[0])

        started = self._moment()
        try:
            creating = self.store.create_made(make, made)
        except BaseException:
            self._turn.release()
            raise

        async def send() -> None:
            try:
                sent = await self._sent(database, outgoing, creating, started)
            except BROKEN_COPY as error:
                await self._lose(database, error)
                raise Lost(error) from error
            except Exception as error:
                if done:
                    await self._drop(error)
                raise
            if sent and self._pending:
                await self._upload()

        upload = self._start("upload", send, self._kick)

        def ended(_: asyncio.Task[None]) -> None:
            if not committed.done() and not upload.cancelled():
                committed.set_exception(upload.exception() or self._lost(outgoing_epoch))

        upload.add_done_callback(ended)
        return await committed

    def _kick(self) -> None:
        """See to it that what was captured is uploaded."""
        if "upload" not in self._tasks and self._pending:
            self._start("upload", self._upload_or_drop, self._kick)

    def _group(self, database: LocalDatabase, outgoing: Outgoing) -> NewFile | None:
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
            outgoing = Outgoing()
            file = await self.locally(lambda: self._group(database, outgoing))  # noqa: B023
            if file is None or not await self._sent(database, outgoing, self.store.create(file), self._moment()):
                return

    async def _sent(
        self, database: LocalDatabase, outgoing: Outgoing, creating: Awaitable[float | None], started: Moment
    ) -> bool:
        """Whether there was something to send and the store holds it now. Where it does not, this Machine gives way."""
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

    async def _created(self, outgoing: Outgoing, creating: Awaitable[float | None]) -> None:
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
