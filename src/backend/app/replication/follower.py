"""What other Machines wrote: looked for, fetched, taken in."""

from collections.abc import Sequence

from app.replication.copy import LocalCopy
from app.replication.errors import Damaged
from app.replication.fetching import decoded, fetch, planned
from app.replication.layout import FileRef, contiguous, highest, prune, transaction
from app.replication.local import LocalDatabase
from app.replication.log import Log, must_look_up
from app.replication.uploader import Uploader


class Follower:
    """Keeps the copy up with the log."""

    def __init__(self, copy: LocalCopy, log: Log, uploader: Uploader) -> None:
        self._copy, self._log, self._uploader = copy, log, uploader

    async def look(self) -> None:
        """Look once for files that another Machine wrote. An append of this Machine that succeeds meanwhile proves the
        same, so on a busy owner no look is needed."""
        log, started = self._log, self._log.moment()
        while self._uploader.active and not log.checked_since(started):
            await log.signal.wait()
        async with log.tail:
            database = self._copy.database
            if database is None or log.checked_since(started):
                return
            await self._take_next(database)

    async def follow(self, database: LocalDatabase, ref: FileRef, data: bytes) -> None:
        """Take in the file that a claim of this Machine met, and what lies behind it; call it with ``tail`` held."""
        await self._take(database, ref, data)
        await self._take_next(database)

    async def _take_next(self, database: LocalDatabase) -> None:
        """Look for the next file, and take in all there is where there is one."""
        log, ref = self._log, transaction(database.txid + 1)
        asked = log.moment()
        data, date = await log.store.probe(ref)
        if self._copy.database is not database:
            return
        if data is not None:
            await self._take(database, ref, data)
        if data is not None or must_look_up(log.verified, date, log.options.retention):
            await self._catch_up(database)
        else:
            log.verified = date
        log.note_check(asked)

    async def _catch_up(self, database: LocalDatabase) -> None:
        """List, and take in whatever is newer than the local copy. Raises ``Damaged`` where the log ends before it."""
        log = self._log
        listed = await log.store.recent()
        if highest(listed.files) < database.txid:
            raise Damaged(
                transaction(database.txid).name,
                f"is missing: the log ends at TXID {highest(listed.files):x}, behind what this Machine holds",
            )
        plan = planned(contiguous, listed.files, database.txid)
        if plan:
            await self._take_in(database, list((await fetch(log.store, plan)).items()))
        log.files = planned(prune, listed.files)
        log.verified = listed.date

    async def _take(self, database: LocalDatabase, ref: FileRef, data: bytes) -> None:
        """Take in one file. A snapshot behind a broken one may replace it."""
        try:
            await self._take_in(database, [(ref, data)])
        except Damaged:
            await self._catch_up(database)

    async def _take_in(self, database: LocalDatabase, found: Sequence[tuple[FileRef, bytes]]) -> None:
        await self._copy.overtaken(database, found, lambda: [decoded(ref, data) for ref, data in found])
        self._log.files += [ref for ref, _ in found]
