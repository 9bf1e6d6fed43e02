"""Deliberately broken replications: each takes one rule of the protocol away, and the invariants must notice.

Every variant is a context manager that patches the real code for the length of a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Literal
from unittest import mock

from tests.backend.replication.simulation.store import SimulatedStore
from tests.backend.replication.simulation.world import Bucket, Machine, current_machine

import app.replication.claims as claims
import app.replication.deletion as deletion
import app.replication.follower as follower
import app.replication.layout as layout
import app.replication.local as local
import app.replication.log as log
import app.replication.uploader as uploader
from app.replication.copy import LocalCopy, Ticket
from app.replication.errors import Fenced, FileExists, Lost, StoreError
from app.replication.follower import Follower
from app.replication.layout import FileRef, highest
from app.replication.local import LocalDatabase
from app.replication.log import Log, Moment, Options
from app.replication.ltx import Header, LtxFile, decode, encode, has_pages
from app.replication.replica import Replica
from app.replication.store import Listed, NewFile

Variant = Callable[[], AbstractContextManager[None]]


@contextmanager
def _patched(*patches: Any) -> Iterator[None]:
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.stop()


def plain_put() -> AbstractContextManager[None]:
    """Files are written without a condition: the last writer wins."""

    honest = Bucket.create

    def create(self: Bucket, name: str, data: bytes) -> bool:
        self.objects.pop(name, None)
        return honest(self, name, data)

    return _patched(mock.patch.object(Bucket, "create", create))


def any_refusal_is_success() -> AbstractContextManager[None]:
    """A refused create is taken for one's own lost answer, whatever is there."""
    return _patched(mock.patch.object(log, "is_own", return_value=True))


def acknowledge_before_upload() -> AbstractContextManager[None]:
    """The answer leaves before the file is in the store."""

    async def settle(self: Replica, ticket: Ticket) -> None:
        self.uploader.kick()

    return _patched(mock.patch.object(Replica, "settle", settle))


def ungated_read() -> AbstractContextManager[None]:
    """A read shows rows that are still on their way."""
    honest = Replica.read

    async def read(self: Replica, query: Any, seen: Ticket | None = None, *, at_least: int = 0) -> Any:
        result, ticket = await honest(self, query, seen, at_least=at_least)
        return result, Ticket(ticket.epoch, 0)

    return _patched(mock.patch.object(Replica, "read", read))


def range_named_file() -> AbstractContextManager[None]:
    """Some writers name a group as a range: another key, which the owner's create does not collide with."""

    def transaction(txid: int) -> FileRef:
        machine = current_machine.get()
        return FileRef(0, txid, txid + (machine.number % 2 if machine else 0))

    return _patched(*(mock.patch.object(part, "transaction", transaction) for part in (uploader, follower, claims)))


def delete_the_newest_claim() -> AbstractContextManager[None]:
    """A writer that gives way takes its newest file back, and the fence with it."""
    honest = Follower._take_in

    async def take_in(self: Follower, database: LocalDatabase, found: Any) -> None:
        store = self._log.store
        if isinstance(store, SimulatedStore) and database.txid:
            store.bucket.objects.pop(layout.transaction(database.txid).name, None)
        await honest(self, database, found)

    return _patched(mock.patch.object(Follower, "_take_in", take_in))


def early_deletion() -> AbstractContextManager[None]:
    """Files go as soon as a snapshot covers them, while writers that have not seen that may still sleep."""

    def deletable(files: list[FileRef], _date: float, _options: Any) -> list[FileRef]:
        base = max((file.max_txid for file in files if file.level == 9), default=0)
        return [file for file in files if file.max_txid <= base and file.level < 9]

    return _patched(mock.patch("app.replication.maintenance.deletable", deletable))


def never_looks_after_a_long_sleep() -> AbstractContextManager[None]:
    """A file that is not there was never there, for a writer that slept past the retention too."""
    return _patched(*(mock.patch.object(part, "must_look_up", return_value=False) for part in (log, follower)))


def local_clock_for_retention() -> AbstractContextManager[None]:
    """Files are deleted by the store's clock, but a writer measures its own sleep by a clock that stood still."""
    noted: dict[tuple[Machine, float], float] = {}
    honest = SimulatedStore._call

    async def timed(self: SimulatedStore, *arguments: Any, **options: Any) -> tuple[Any, float]:
        answer, date = await honest(self, *arguments, **options)
        noted[self.machine, date] = self.machine.monotonic()
        return answer, date

    def must_look_up(verified: float | None, date: float, retention: float) -> bool:
        machine = current_machine.get()
        assert machine is not None
        return verified is None or noted[machine, date] - noted[machine, verified] >= retention / 2

    return _patched(
        mock.patch.object(SimulatedStore, "_call", timed),
        *(mock.patch.object(part, "must_look_up", must_look_up) for part in (log, follower)),
    )


def error_as_absence() -> AbstractContextManager[None]:
    """A store that fails is taken for an empty one."""
    honest = SimulatedStore.list

    async def listed(self: SimulatedStore) -> Listed:
        try:
            return await honest(self)
        except StoreError:
            return Listed([], self.bucket.date)

    return _patched(mock.patch.object(SimulatedStore, "list", listed))


def no_look_before_reads() -> AbstractContextManager[None]:
    """A copy that was opened once is never held against the store again."""
    return _patched(mock.patch.object(log, "read_is_fresh", lambda checked, *_: checked is not None))


def interval_means_never() -> AbstractContextManager[None]:
    """A copy that may be trusted for some time is trusted for ever."""

    def is_fresh(checked: Moment | None, started: Moment, options: Options) -> bool:
        return checked is not None and (options.read_check > 0 or checked.monotonic >= started.monotonic)

    return _patched(mock.patch.object(log, "read_is_fresh", is_fresh))


def giving_way_keeps_the_last_look() -> AbstractContextManager[None]:
    """A Machine that lost to another one still trusts what it saw before."""
    return _patched(mock.patch.object(Log, "forget_check"))


def no_claim() -> AbstractContextManager[None]:
    """Who has a copy writes at once: it neither claims nor takes in what others wrote."""

    def owning(self: LocalCopy) -> bool:
        return self.database is not None and self.database.txid > 0

    return _patched(mock.patch.object(LocalCopy, "owning", property(owning)))


def no_roll_back() -> AbstractContextManager[None]:
    """Commits that lost stay in the local file, and what others wrote is laid over them."""

    def keep(self: LocalDatabase) -> None:
        self._pending.clear()
        self.durable = self.seq
        self._durable_frames = self._captured

    return _patched(mock.patch.object(LocalDatabase, "roll_back", keep))


def epochs_stand_still() -> AbstractContextManager[None]:
    """A ticket of a commit that was dropped counts for the next commit of the same number."""
    return _patched(mock.patch.object(LocalCopy, "_next_epoch", lambda self, *_: self._signal.notify()))


def checkpoint_under_way() -> AbstractContextManager[None]:
    """The log is emptied while commits are on their way: a roll-back then finds nothing to cut."""

    def mark(self: LocalDatabase, txid: int, seq: int, life: int | None = None) -> None:
        honest(self, txid, seq, life)
        with self._lock:
            self._checkpoint()

    honest = LocalDatabase.mark_durable
    return _patched(mock.patch.object(LocalDatabase, "mark_durable", mark))


def resume_the_local_file() -> AbstractContextManager[None]:
    """A new process trusts the file that the last one left."""
    honest = LocalDatabase.replace

    def resume(self: LocalDatabase, files: list[LtxFile], image: bytes | None = None) -> None:
        if not self.path.exists() or "replay" in str(self.path) or not files:
            honest(self, files, image)
        else:
            self.txid = files[-1].header.max_txid

    return _patched(mock.patch.object(LocalDatabase, "replace", resume))


def snapshot_of_what_is_not_durable() -> AbstractContextManager[None]:
    """A snapshot is taken of the live file, commits on their way included."""
    return _patched(mock.patch.object(LocalDatabase, "durable_image", LocalDatabase.image))


def late_txid() -> AbstractContextManager[None]:
    """A group gets the next free TXID when it is uploaded, not the one that follows the state it was made on."""
    honest = Log.append

    async def append(self: Log, file: NewFile) -> None:
        while True:
            try:
                return await honest(self, file)
            except Fenced:
                if not has_pages(file.data):
                    raise
                ref = FileRef(0, file.ref.min_txid + 1, file.ref.max_txid + 1)
                file = replace(file, ref=ref, data=_renumbered(file.data, ref))

    return _patched(mock.patch.object(Log, "append", append))


def _renumbered(data: bytes, ref: FileRef) -> bytes:
    """``data`` under another TXID."""
    file = decode(data)
    return encode(replace(file.header, min_txid=ref.min_txid, max_txid=ref.max_txid), sorted(file.pages.items()))


def no_capture_of_some_pages() -> AbstractContextManager[None]:
    """The capture loses a page of large commits."""
    honest = local.read_frames

    def frames(data: bytes, count: int, salt: bytes, page_size: int) -> tuple[dict[int, bytes], int]:
        pages, commit = honest(data, count, salt, page_size)
        if len(pages) > 3:
            pages.pop(max(pages))
        return pages, commit

    return _patched(mock.patch.object(local, "read_frames", frames))


def write_on_a_replaced_view() -> AbstractContextManager[None]:
    """A session writes what it concluded from a read that another Machine's changes have overtaken."""
    honest = LocalCopy.write

    async def write(self: LocalCopy, database: LocalDatabase, change: Any, _seen: Any) -> Any:
        return await honest(self, database, change, None)

    return _patched(mock.patch.object(LocalCopy, "write", write))


def another_machines_changes_end_no_epoch() -> AbstractContextManager[None]:
    """Only changes that were taken back replace a view, not those that came in."""
    honest = LocalCopy._next_epoch

    def next_epoch(self: LocalCopy, cause: Exception, database: LocalDatabase | None) -> None:
        if not isinstance(cause, Fenced):
            honest(self, cause, database)

    return _patched(mock.patch.object(LocalCopy, "_next_epoch", next_epoch))


def the_newest_cause_for_every_epoch() -> AbstractContextManager[None]:
    """A request is told by what happened last, not by what ended its own epoch."""

    def lost(self: LocalCopy, epoch: int) -> Lost:
        return Lost(self._over[max(self._over)][1]) if self._over else Lost(StoreError("unknown"))

    return _patched(mock.patch.object(LocalCopy, "lost", lost))


def a_look_amid_an_upload() -> AbstractContextManager[None]:
    """Looks and uploads do not exclude each other: an upload of this Machine is taken for another's."""

    class Open(asyncio.Lock):
        async def acquire(self) -> Literal[True]:
            return True

        def release(self) -> None:
            return

    honest = Log.__init__

    def init(self: Log, *arguments: Any, **options: Any) -> None:
        honest(self, *arguments, **options)
        self.tail = Open()

    return _patched(mock.patch.object(Log, "__init__", init))


def refusals_judged_on_an_old_state() -> AbstractContextManager[None]:
    """A change that raises or changes nothing is answered without a look for other Machines' files."""
    return _patched(mock.patch.object(Replica, "_was_overtaken", mock.AsyncMock(return_value=False)))


def refusals_judged_once() -> AbstractContextManager[None]:
    """The look happens, but what it brings in is not judged again."""
    honest = Replica._was_overtaken

    async def was_overtaken(self: Replica, epoch: int, started: Moment) -> bool:
        await honest(self, epoch, started)
        return False

    return _patched(mock.patch.object(Replica, "_was_overtaken", was_overtaken))


def positions_ignored() -> AbstractContextManager[None]:
    """A client's position makes no Machine catch up."""
    return _patched(mock.patch.object(Replica, "_reached", mock.AsyncMock(return_value=True)))


def positions_one_too_low() -> AbstractContextManager[None]:
    """An answer names the transaction before the one that holds what it shows."""
    honest: Any = Replica.position

    def position(self: Replica) -> int:
        return max(0, int(honest.fget(self)) - 1)

    return _patched(mock.patch.object(Replica, "position", property(position)))


def a_look_is_dated_by_its_end() -> AbstractContextManager[None]:
    """What was written while the store was asked counts as seen."""
    honest = Log.note_check

    def note(self: Log, _started: Moment) -> None:
        honest(self, self.moment())

    return _patched(mock.patch.object(Log, "note_check", note))


def the_wall_clock_ignored() -> AbstractContextManager[None]:
    """Only the monotonic clock ends the interval for which a copy is trusted: it stands still in a suspend."""

    def is_fresh(checked: Moment | None, started: Moment, options: Options) -> bool:
        return checked is not None and started.monotonic - checked.monotonic < max(options.read_check, 1e-9)

    return _patched(mock.patch.object(log, "read_is_fresh", is_fresh))


def the_monotonic_clock_ignored() -> AbstractContextManager[None]:
    """Only the wall clock ends that interval: it may be set back."""

    def is_fresh(checked: Moment | None, started: Moment, options: Options) -> bool:
        return checked is not None and (
            checked.monotonic >= started.monotonic or started.wall - checked.wall < options.read_check
        )

    return _patched(mock.patch.object(log, "read_is_fresh", is_fresh))


def appends_without_a_fence() -> AbstractContextManager[None]:
    """A refused create is passed over, and what it held is taken for stored."""
    return _patched(mock.patch.object(Log, "append", _append_without_a_fence))


async def _append_without_a_fence(self: Log, file: NewFile) -> None:
    with contextlib.suppress(FileExists):
        await self.store.create(file)
    self.files.append(file.ref)
    self.note_check(self.moment())


def claims_that_name_another() -> AbstractContextManager[None]:
    """A copy takes itself for the owner that it sends requests to."""
    return _patched(mock.patch.object(Replica, "_foreign", lambda self, _writer: self.options.machine))


def merged_pages_behind_the_end() -> AbstractContextManager[None]:
    """A merge keeps pages that a smaller database does not have any more."""

    def merged(files: Any, node: int) -> bytes:
        run = list(files)
        pages: dict[int, bytes] = {}
        for file in run:
            pages.update(file.pages)
        first, last = run[0].header, run[-1].header
        commit = max(file.header.commit for file in run)
        header = Header(last.page_size, commit, first.min_txid, last.max_txid, last.timestamp, node)
        return encode(header, sorted(pages.items()))

    return _patched(mock.patch("app.replication.maintenance.merge", merged))


def a_database_that_never_shrinks() -> AbstractContextManager[None]:
    """What another Machine cut off its database stays in the local file."""
    honest = os.truncate

    def truncate(target: Any, size: int) -> None:
        if isinstance(target, int) and os.fstat(target).st_size > size:
            return
        honest(target, size)

    return _patched(mock.patch.object(os, "truncate", truncate))


def an_old_database_read_before_it_is_taken_over() -> AbstractContextManager[None]:
    """Two Machines convert the whole-file database, and each goes on with pages of its own."""
    honest = LocalCopy.begun

    async def begun(self: LocalCopy, image: Any, *, uploaded_first: bool) -> None:
        await honest(self, image, uploaded_first=False)
        if uploaded_first and self.database is not None:
            self.database.txid = 1

    return _patched(mock.patch.object(LocalCopy, "begun", begun))


def an_old_database_overlooked() -> AbstractContextManager[None]:
    """An empty replica means a new profile, whatever lies beside it."""
    return _patched(mock.patch.object(SimulatedStore, "legacy", mock.AsyncMock(return_value=None)))


def a_roll_back_that_leaves_the_numbers() -> AbstractContextManager[None]:
    """A group that was taken back is marked durable when its upload ends late."""
    honest = LocalDatabase.mark_durable

    def mark(self: LocalDatabase, txid: int, seq: int, life: int | None = None) -> None:
        honest(self, txid, seq)

    def roll_back(self: LocalDatabase) -> None:
        seq = self.seq
        rolled(self)
        self.durable = self.seq = seq

    rolled = LocalDatabase.roll_back
    return _patched(
        mock.patch.object(LocalDatabase, "mark_durable", mark), mock.patch.object(LocalDatabase, "roll_back", roll_back)
    )


def a_deletion_without_a_fence() -> AbstractContextManager[None]:
    """The files go, and whoever writes the profile goes on."""

    async def fence(replica: Any) -> int:
        return highest((await replica.list()).files)

    return _patched(mock.patch.object(deletion, "_fence", fence))


def a_deletion_that_keeps_no_names() -> AbstractContextManager[None]:
    """The transactions' names go too: a Machine that slept finds its next one free."""

    def plan(found: Any, *_: Any) -> tuple[list[str], list[str]]:
        return [item.key for item in found], []

    return _patched(mock.patch.object(deletion, "plan", plan))


def a_deletion_that_empties_only_its_fence() -> AbstractContextManager[None]:
    """What a deleted profile held stays readable."""
    return _patched(mock.patch.object(deletion, "plan", return_value=([], [])))


def a_fence_that_counts_as_a_claim() -> AbstractContextManager[None]:
    """A claim that meets the fence of a deletion passes it over and tries the next number."""
    honest = Log.append

    async def append(self: Log, file: NewFile) -> None:
        while True:
            try:
                return await honest(self, file)
            except Fenced as error:
                if error.data != layout.EMPTIED:
                    raise
                ref = layout.transaction(error.ref.max_txid + 1)
                file = replace(file, ref=ref, data=_renumbered(file.data, ref))

    return _patched(mock.patch.object(Log, "append", append))


def commits_of_an_old_epoch_counted() -> AbstractContextManager[None]:
    """Whatever was committed in an epoch that is over counts as kept."""

    def kept(self: LocalCopy, ticket: Ticket) -> bool:
        return ticket.epoch != self.epoch or (self.database is not None and ticket.seq <= self.database.durable)

    return _patched(mock.patch.object(LocalCopy, "kept", kept))


def the_newest_snapshot_alone() -> AbstractContextManager[None]:
    """A copy is built from the newest snapshot, and what lies behind it is forgotten."""
    honest = layout.restore_plan

    def plan(files: Any, until: int | None = None) -> list[FileRef]:
        whole = honest(files, until)
        return whole[:1] if whole and whole[0].level == layout.SNAPSHOT else whole

    return _patched(mock.patch("app.replication.replica.restore_plan", plan))


def a_gap_passed_over() -> AbstractContextManager[None]:
    """Files that do not follow each other are applied all the same."""

    def plan(files: Any, reached: int) -> list[FileRef]:
        return [file for file in sorted(files, key=lambda f: f.max_txid) if file.max_txid > reached][-1:]

    def apply(self: LocalDatabase, files: Any) -> bool:
        self.txid = max(self.txid, min((file.header.min_txid for file in files), default=1) - 1)
        return honest(self, files)

    honest = LocalDatabase.apply
    return _patched(mock.patch.object(follower, "contiguous", plan), mock.patch.object(LocalDatabase, "apply", apply))


def a_claim_without_a_look() -> AbstractContextManager[None]:
    """A claim that met another writer's file takes over behind it without reading it."""

    async def follow(self: Follower, database: LocalDatabase, ref: FileRef, data: bytes) -> None:
        database.txid = ref.max_txid

    return _patched(mock.patch.object(Follower, "follow", follow))


def a_release_before_what_is_under_way() -> AbstractContextManager[None]:
    """A Machine that stops gives the profile up first, and ends its writes afterwards."""
    honest = Replica.close

    async def close(self: Replica, *, release_seconds: float = 0.0) -> None:
        if release_seconds:
            await self.claims.release()
        await honest(self)

    return _patched(mock.patch.object(Replica, "close", close))


VARIANTS: tuple[Variant, ...] = (
    plain_put,
    any_refusal_is_success,
    acknowledge_before_upload,
    ungated_read,
    range_named_file,
    delete_the_newest_claim,
    early_deletion,
    never_looks_after_a_long_sleep,
    local_clock_for_retention,
    error_as_absence,
    no_look_before_reads,
    interval_means_never,
    giving_way_keeps_the_last_look,
    no_claim,
    no_roll_back,
    epochs_stand_still,
    checkpoint_under_way,
    resume_the_local_file,
    snapshot_of_what_is_not_durable,
    late_txid,
    no_capture_of_some_pages,
    write_on_a_replaced_view,
    another_machines_changes_end_no_epoch,
    the_newest_cause_for_every_epoch,
    a_look_amid_an_upload,
    refusals_judged_on_an_old_state,
    refusals_judged_once,
    positions_ignored,
    positions_one_too_low,
    a_look_is_dated_by_its_end,
    the_wall_clock_ignored,
    the_monotonic_clock_ignored,
    appends_without_a_fence,
    claims_that_name_another,
    merged_pages_behind_the_end,
    a_database_that_never_shrinks,
    an_old_database_read_before_it_is_taken_over,
    an_old_database_overlooked,
    a_roll_back_that_leaves_the_numbers,
    a_deletion_without_a_fence,
    a_deletion_that_keeps_no_names,
    a_deletion_that_empties_only_its_fence,
    a_fence_that_counts_as_a_claim,
    commits_of_an_old_epoch_counted,
    the_newest_snapshot_alone,
    a_gap_passed_over,
    a_claim_without_a_look,
    a_release_before_what_is_under_way,
)
