"""Keeps a replica quick to open: merges level by level, takes snapshots, and deletes files past the retention.

Runs in parallel with requests. A merge or snapshot that fails is tried again after a later upload.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from app.replication.errors import Damaged, FileExists, ForeignWriter, GapError, LtxError, StoreError
from app.replication.fetching import decoded, fetch
from app.replication.layout import (
    FANOUT,
    SNAPSHOT,
    TOP_LEVEL,
    FileRef,
    deletable,
    due_merge,
    prune,
    snapshot_due,
    unmerged,
)
from app.replication.log import DAY
from app.replication.ltx import merge
from app.replication.replica import Replica
from app.replication.store import NewFile

logger = logging.getLogger(__name__)

# Bodies of the newest level-0 files are kept so that merging them costs no GET; larger ones are fetched.
_KEPT_BYTES = 1 << 20


class Maintainer:
    """Maintains one replica after its uploads."""

    def __init__(self, replica: Replica) -> None:
        self._replica, self._log = replica, replica.log
        self._bodies: dict[FileRef, bytes] = {}
        self._looked: float | None = None
        self._unmerged = 0
        replica.log.after_append = self._note
        replica.before_rest = self._bodies.clear

    def _note(self, ref: FileRef, data: bytes, date: float) -> None:
        self._bodies[ref] = data
        while len(self._bodies) > FANOUT or sum(map(len, self._bodies.values())) > _KEPT_BYTES:
            del self._bodies[next(iter(self._bodies))]
        self._unmerged += 1
        if self._unmerged >= FANOUT or self._looked is None or date - self._looked >= DAY:
            self._replica.maintain(self._work)

    async def _work(self) -> None:
        looked = self._looked
        try:
            await self._retain()
            while True:
                # A snapshot first: what it holds need not be merged any more.
                await self._snapshot()
                await self._merge()
                self._log.files = prune(self._log.files)
                if not due_merge(self._log.files, 0):
                    break
            self._unmerged = unmerged(self._log.files)
        except (StoreError, Damaged, GapError, LtxError, ForeignWriter) as error:
            # Until there are as many uploads again, or a store that is down would be asked with each.
            self._unmerged = 0
            if isinstance(error, GapError) and self._looked == looked:
                # What is remembered has a hole, which a list fills. Where it was just listed the bucket has it too.
                self._looked = None
            logger.warning("Maintenance of a replica is put off: %s", error)

    async def _merge(self) -> None:
        copy = self._replica.copy
        for level in range(TOP_LEVEL):
            while run := due_merge(self._log.files, level):
                bodies = await self._read(run)
                data = await copy.run(lambda: merge((decoded(r, b) for r, b in bodies), self._log.node))  # noqa: B023
                ref = FileRef(level + 1, run[0].min_txid, run[-1].max_txid)
                await self._add(NewFile(ref, data, self._log.wall_ms()))

    async def _snapshot(self) -> None:
        copy = self._replica.copy
        database = copy.database
        if database is None or not snapshot_due(
            self._log.files, database.disk_bytes, self._replica.options.snapshot_share
        ):
            return
        image = await copy.locally(database.durable_image)
        ref, size = FileRef(SNAPSHOT, 1, image.txid), (database.page_size, image.commit)
        await self._add(await copy.run(lambda: self._log.new_file(ref, size, image.pages)))

    async def _retain(self) -> None:
        """Once a day by the store's clock, look at the whole replica and delete what is old and covered."""
        replica = self._replica
        if self._looked is not None and (self._log.verified or 0.0) - self._looked < DAY:
            return
        listed = await replica.store.list()
        self._looked = listed.date
        old = deletable(listed.files, listed.date, replica.options.retention)
        # What lies behind the copy is for catching up; an upload of ours may be there whose answer has not come.
        reached = replica.position
        known = [ref for ref in listed.files if ref.max_txid <= reached and ref not in set(old)]
        gone = {ref.name for ref in old}
        self._log.files = prune([*(ref for ref in self._log.files if ref.name not in gone), *known])
        await replica.store.delete(old)

    async def _read(self, run: Sequence[FileRef]) -> list[tuple[FileRef, bytes]]:
        # Before the others are fetched: meanwhile newer ones take their place.
        found = {ref: self._bodies.pop(ref) for ref in run if ref in self._bodies}
        missing = [ref for ref in run if ref not in found]
        found |= await fetch(self._replica.store, missing)
        return [(ref, found[ref]) for ref in run]

    async def _add(self, file: NewFile) -> None:
        try:
            date = await self._replica.store.create(file)
        except FileExists:
            # Another Machine merged the same immutable files, so its file has the same content.
            date = self._log.verified or 0.0
        self._log.files.append(replace(file.ref, size=len(file.data), modified=date))
