"""One profile's replica as one Machine drives it: open, read, write, settle, and who serves the profile."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import apsw

from app.db.schema import NewerSchema
from app.replication import legacy
from app.replication.claims import Claims
from app.replication.copy import BROKEN_COPY, LocalCopy, Run, Schema, State, Ticket
from app.replication.errors import Damaged, Declined, Lost, LtxError, NotADatabase, ReplicationError, StoreError
from app.replication.fetching import Fetching, decoded, planned
from app.replication.follower import Follower
from app.replication.layout import FileRef, highest, prune, restore_plan, transaction
from app.replication.local import LocalDatabase
from app.replication.log import Log, Moment, Options, read_is_fresh
from app.replication.ltx import read_header
from app.replication.store import Listed, ReplicaStore
from app.replication.tasks import Signal, Tasks, Work
from app.replication.uploader import Uploader

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Peeked:
    """What the end of the log looks like, seen without opening the database: enough to tell who serves the profile."""

    started: Moment
    listed: Listed
    writer: str


class Replica:
    """Reads and writes of one profile on this Machine. Made without I/O; opens itself at the first use.

    ``node`` is random for each start of the process. ``run`` runs blocking local work (in a thread in production),
    ``now`` is a monotonic clock in seconds, ``wall_ms`` the wall clock in ms since the epoch. ``was_begun`` says
    whether the list of profiles knows that this log has files; an empty one is then damaged, not new. Every method
    raises ``StoreError`` when the store cannot be asked and ``Damaged`` when it holds nonsense.
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
        was_begun: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.store, self.options = store, options
        self.signal = Signal()
        self.tasks = Tasks(self.signal)
        self.copy = LocalCopy(path, schema, run, self.signal)
        self.log = Log(store, node, options, self.signal, now=now, wall_ms=wall_ms)
        self.uploader = Uploader(self.copy, self.log, self.tasks)
        self.follower = Follower(self.copy, self.log, self.uploader)
        self.claims = Claims(self.copy, self.log, self.uploader, self.follower)
        self.before_rest: Callable[[], None] = lambda: None
        self._was_begun = was_begun
        self._peeked: _Peeked | None = None

    async def read(
        self, query: Callable[[apsw.Connection], T], seen: Ticket | None = None, *, at_least: int = 0
    ) -> tuple[T, Ticket]:
        """The query's result, and what must be in the replica before anyone may see it. ``at_least`` is a TXID that the
        result must not lie behind. Raises ``Lost`` where what the caller has ``seen`` before was taken back since."""
        started = self.log.moment()
        while True:
            database = await self._opened()
            if not self.log.is_fresh(started):
                await self._steer(self.follower.look, lambda: self.log.is_fresh(started))
            elif await self._reached(database, at_least, started):
                found = await self.copy.read(database, query, seen)
                if found is not None:
                    return found

    async def write(
        self, change: Callable[[apsw.Connection], T], seen: Ticket | None = None, *, at_least: int = 0
    ) -> tuple[T, Ticket]:
        """Run one transaction on a copy that this Machine has claimed; its upload begins at once.

        Raises ``Lost``, and writes nothing, where the view that the caller has ``seen`` was replaced since, and
        ``Declined`` for what ``change`` raises. A change that raised or committed nothing is run again where other
        Machines' files have come: no refused upload would tell that it judged an old state.
        """
        # In a task of its own: a client that goes away must not leave a commit behind without an upload.
        return await asyncio.shield(self.tasks.start(object(), lambda: self._write(change, seen, at_least)))

    async def settle(self, ticket: Ticket) -> None:
        """Return when the replica holds what the ticket stands for. Raises ``Lost`` when that was dropped."""
        while not self.copy.kept(ticket):
            if ticket.epoch != self.copy.epoch:
                raise self.copy.lost(ticket.epoch)
            await self.signal.wait()

    @property
    def position(self) -> int:
        """The TXID of the newest file that the copy holds, or held until it was dropped; 0 where there was none."""
        return self.copy.database.txid if self.copy.database else self.copy.dropped_at

    async def elsewhere(self) -> str:
        """The Machine that serves this profile; empty where that is this one, or none is named. Opens no database, and
        asks the store as often as a read would."""
        if not self.options.machine or self.copy.owning:
            return ""
        started = self.log.moment()
        while self.copy.database is None:
            if peeked := self._still_fresh(started):
                return self._foreign(peeked.writer)
            await self._steer(self._peek)
        if not self.log.is_fresh(started):
            await self._steer(self.follower.look, lambda: self.log.is_fresh(started))
        return self._foreign(self.copy.writer)

    def claim_soon(self) -> None:
        """Claim the profile in the background, because this Machine serves it; without a Machine id, do nothing."""
        if self.options.machine and self.copy.state is State.FOLLOWING and "claim" not in self.tasks:
            self.tasks.start("claim", self._claim_quietly)

    @property
    def busy(self) -> bool:
        """Whether anything is under way or not yet durable: such a replica must not be evicted."""
        return bool(self.tasks) or self.copy.pending

    @property
    def disk_bytes(self) -> int:
        """Bytes that the local copy takes on the disk."""
        return self.copy.database.disk_bytes if self.copy.database else 0

    def maintain(self, work: Work) -> None:
        """Start maintenance unless it is under way; it counts as busy and is waited for on closing."""
        if "maintain" not in self.tasks and self.copy.state is not State.CLOSED:
            self.tasks.start("maintain", work)

    async def rest(self) -> bool:
        """Close the connection of a replica that does nothing right now; False when it is busy."""
        if self.busy:
            return False
        self.before_rest()
        if self.copy.database is not None:
            await self.copy.locally(self.copy.database.close)
        return True

    async def close(self, *, release_seconds: float = 0.0) -> None:
        """Wait for what is under way, release the profile where this Machine owns it, which may take so many seconds
        (0: not at all), and drop the local copy."""
        await self.tasks.end()
        if release_seconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(release_seconds):
                    await self.claims.release()
        await self.copy.dropped(StoreError("the database was closed"), for_good=True)

    async def _write(
        self, change: Callable[[apsw.Connection], T], seen: Ticket | None, at_least: int
    ) -> tuple[T, Ticket]:
        started = self.log.moment()
        while True:
            database = await self._opened()
            if not await self._reached(database, at_least, started):
                continue
            if database.crowded:
                await self.settle(Ticket(self.copy.epoch, database.seq))
            if not self.copy.owning:
                await self._steer(self.claims.claim)
                continue
            epoch = self.copy.epoch
            try:
                done = await self.copy.write(database, change, seen)
            except Declined:
                if await self._was_overtaken(epoch, started):
                    continue
                raise
            if done is None:
                continue
            result, ticket, committed = done
            if committed:
                self.uploader.kick()
            if committed or not await self._was_overtaken(epoch, started):
                return result, ticket

    async def _reached(self, database: LocalDatabase, at_least: int, started: Moment) -> bool:
        """Whether the copy holds TXID ``at_least``. If not, look for newer files; the caller then starts again. Raises
        ``Damaged`` if a look since ``started`` found the end of the log before it: a client has been shown that TXID.
        """
        if database.txid >= at_least:
            return True
        # Raised here and not in the look: requests share looks, and the position of another client is not theirs.
        if self.log.checked_since(started):
            raise Damaged(
                transaction(at_least).name,
                f"is missing: the log ends at TXID {database.txid:x}, and a client has been shown {at_least:x}",
            )
        await self._steer(self.follower.look, lambda: self.log.checked_since(started))
        return False

    async def _was_overtaken(self, epoch: int, started: Moment) -> bool:
        """Look whether another Machine has written; whether the view of ``epoch`` was replaced by now."""
        while self.copy.epoch == epoch and not self.log.checked_since(started):
            if self.copy.database is None:
                # The copy is being let go, which ends the epoch. There is nothing to look with until then.
                await self.signal.wait()
                continue
            await self._steer(self.follower.look, lambda: self.log.checked_since(started))
        return self.copy.epoch != epoch

    async def _opened(self) -> LocalDatabase:
        """The copy with a current schema. Requests that come while it is built or migrated wait."""
        while (database := self.copy.database) is None or self.copy.state is State.BEHIND:
            await self._steer(self._build if database is None else self._make_fit)
        return database

    async def _steer(self, work: Work, enough: Callable[[], bool] = lambda: False) -> None:
        """Do ``work``, or wait for another caller's: one opens, looks or claims at a time."""

        async def guarded() -> None:
            if self.copy.state is State.CLOSED:
                raise StoreError("the database was closed")
            try:
                await work()
            except BROKEN_COPY as error:
                await self.copy.dropped(error)
                raise Lost(error) from error

        await self.tasks.join("steer", guarded, enough)

    def _still_fresh(self, started: Moment) -> _Peeked | None:
        """What was peeked, if a read that began at ``started`` may trust it."""
        peeked = self._peeked
        return peeked if peeked and read_is_fresh(peeked.started, started, self.options) else None

    async def _peek(self, early: Callable[[Sequence[FileRef]], None] | None = None) -> _Peeked:
        """Look at the end of the log. Only the newest transaction names its Machine: merged files and snapshots do
        not."""
        started, listed = self.log.moment(), await self.store.recent(early)
        writer, txid = "", highest(listed.files)
        if txid and self.options.machine:
            data, _ = await self.store.probe(transaction(txid))
            with contextlib.suppress(LtxError):
                writer = read_header(data or b"").machine
        self._peeked = _Peeked(started, listed, writer)
        return self._peeked

    async def _build(self) -> None:
        async with Fetching(self.store) as fetching:
            peeked = self._still_fresh(self.log.moment()) or await self._peek(fetching.ahead)
            # Once: what follows changes the log.
            self._peeked, listed = None, peeked.listed
            plan = planned(restore_plan, listed.files)
            bodies = await fetching.bodies(plan)
        if plan:
            # In one piece after the GETs: threads that decode beside them would take turns with theirs page by page.
            files = await self.copy.run(lambda: [decoded(ref, data, with_index=False) for ref, data in bodies.items()])
            await self.copy.built(files, plan[-1].name, peeked.writer)
        else:
            await self._begin()
        self.log.files, self.log.verified = planned(prune, listed.files), listed.date
        self.log.note_check(peeked.started)
        await self._compare_with_legacy(listed.taken_over)
        if self.copy.state is State.BEHIND:
            await self._make_fit()

    async def _begin(self) -> None:
        """The first copy where there is no log: of the whole-file database of earlier releases, or a new one."""
        if self._was_begun and await self._was_begun():
            raise Damaged("", "has no files, although the list of profiles knows that it was begun")
        found = await self.store.legacy()
        if found is None:
            await self.copy.begun(lambda: None, uploaded_first=False)
            return
        data, etag = found
        try:
            await self.copy.begun(lambda: legacy.prepared(data, self.copy.path.parent), uploaded_first=True)
            # Before the claim: no log may have been taken over without a note of what it was made from.
            await self.store.note_taken_over(etag)
        except NotADatabase as error:
            raise Damaged(legacy.LEGACY_NAME, str(error)) from error
        except StoreError as error:
            await self.copy.dropped(error)
            raise

    async def _compare_with_legacy(self, taken_over: frozenset[str]) -> None:
        """An older release may still write the whole file that was taken over. What it stores there is not shown."""
        with contextlib.suppress(StoreError):
            if await legacy.written_since(self.store, taken_over):
                logger.error(
                    "%s: database.sqlite changed after it was taken over: an older release still writes it, and its"
                    " changes are not shown; python -m app.replication verify names the object",
                    self.copy.path,
                )

    async def _make_fit(self) -> None:
        """Claim, so that the schema is brought up before anyone reads, and the store holds every page of the copy. A
        copy for which this fails is dropped: the whole-file database of an earlier release, from which it may have been
        made, can change until the log has its first file."""
        try:
            await self.claims.claim(lambda: self.copy.state is not State.BEHIND)
        except Exception as error:
            await self.copy.dropped(error)
            raise

    async def _claim_quietly(self) -> None:
        try:
            await self._steer(self.claims.claim)
        except (ReplicationError, NewerSchema) as error:
            logger.info("%s was not claimed: %s", self.copy.path, error)

    def _foreign(self, writer: str) -> str:
        return "" if writer == self.options.machine else writer
