"""What other Machines wrote: looked for, fetched, taken in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.replication.core import catch_up_plan, must_look_up, prune
from app.replication.fetched import decoded, planned
from app.replication.fetching import fetch
from app.replication.layout import FileRef, transaction
from app.replication.local import LocalDatabase
from app.replication.ltx import has_pages
from app.replication.outcomes import Damaged, Fenced
from app.replication.uploads import Uploads

# How many of the next files a claimant that came too late looks for side by side before it lists.
_AHEAD = 4


class Following(Uploads):
    """Keeps the copy up with the replica."""

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
        if data is not None or must_look_up(self.verified, date, self.options.retention):
            await self._catch_up(database)
        else:
            self.verified = date
        self._checked = asked

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
        if dropped or any(has_pages(data) for _, data in found):
            self._next_epoch(Fenced(*found[-1]))

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
