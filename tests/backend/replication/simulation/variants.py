"""Deliberately broken replications: each takes one rule of the protocol away, and the invariants must notice.

Every variant is a context manager that patches the real code for the length of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from tests.backend.replication.simulation.store import SimulatedStore
from tests.backend.replication.simulation.world import Bucket, Machine, current_machine

import app.replication.claims as claims
import app.replication.follower as follower
import app.replication.layout as layout
import app.replication.local as local
import app.replication.log as log
import app.replication.pages as pages_of_a_file
import app.replication.uploader as uploader
from app.replication.copy import LocalCopy, Ticket
from app.replication.core import Moment, Options, Refusal
from app.replication.errors import Fenced, StoreError
from app.replication.follower import Follower
from app.replication.layout import FileRef
from app.replication.local import LocalDatabase
from app.replication.log import Log
from app.replication.ltx import LtxFile, decode, encode, has_pages
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
    return _patched(mock.patch.object(log, "judge_refusal", return_value=Refusal.OWN))


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
        self._frames_at.clear()
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
    honest = pages_of_a_file.read_frames

    def frames(data: bytes, count: int, salt: bytes, page_size: int) -> tuple[dict[int, bytes], int]:
        pages, commit = honest(data, count, salt, page_size)
        if len(pages) > 3:
            pages.pop(max(pages))
        return pages, commit

    return _patched(mock.patch.object(local, "read_frames", frames))


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
)
