"""Commits on their way to the store: grouped, one file at a time, acknowledged when it is there."""

import asyncio

from app.replication.copy import LocalCopy
from app.replication.errors import Fenced, Outdated, StoreError
from app.replication.layout import transaction
from app.replication.local import Batch, LocalDatabase
from app.replication.log import Log
from app.replication.store import NewFile
from app.replication.tasks import Tasks

_TASK = "upload"
# After a file with commits of several clients the next one waits for this share of the upload's time: those who were
# just answered mostly write again at once, and would otherwise wait for a file that the first of them fills alone.
# At most so many seconds: a process that was stopped during an upload measures hours for it.
_GATHERING, _GATHERING_SECONDS = 0.02, 0.1


class Uploader:
    """Uploads what was committed to the copy, in the background."""

    def __init__(self, copy: LocalCopy, log: Log, tasks: Tasks) -> None:
        self._copy, self._log, self._tasks = copy, log, tasks
        self._pause = 0.0

    @property
    def active(self) -> bool:
        return _TASK in self._tasks

    def kick(self) -> None:
        """Start uploading, unless nothing is pending or an upload runs already."""
        if not self.active and self._copy.pending:
            self._tasks.start(_TASK, self._upload_or_drop, self.kick)

    async def _upload_or_drop(self) -> None:
        try:
            await self._upload()
        except Exception as error:
            # Without this, a request that waits for these commits would start the same upload again for ever.
            await self._copy.dropped(error)
            raise

    async def _upload(self) -> None:
        """One file at a time, each with everything that was committed while the one before was on its way."""
        copy = self._copy
        database = copy.database
        while database is not None and database is copy.database and copy.pending:
            if self._pause:
                await asyncio.sleep(self._pause)
            async with self._log.tail:
                if not await self._send(database):
                    return

    async def _send(self, database: LocalDatabase) -> bool:
        """Upload one group; False where there was none, or where this Machine gave way."""
        copy, log = self._copy, self._log
        group = await copy.locally(lambda: self._group(database))
        if group is None:
            return False
        batch, file = group
        began = log.now()
        try:
            await log.append(file)
        except (Fenced, StoreError) as error:
            log.forget_check()
            await copy.gave_way(database, error)
            return False
        except Outdated as error:
            await copy.dropped(error)
            return False
        commits = batch.seq - database.durable
        if not database.try_mark_durable(batch.txid, batch.seq, batch.life):
            await copy.locally(lambda: database.mark_durable(batch.txid, batch.seq, batch.life))
        self._pause = min(_GATHERING * (log.now() - began), _GATHERING_SECONDS) if commits > 1 else 0.0
        log.signal.notify()
        return True

    def _group(self, database: LocalDatabase) -> tuple[Batch, NewFile] | None:
        """The next file: everything that is committed and not durable."""
        batch = database.take()
        if batch is None:
            return None
        size, machine = (database.page_size, batch.commit), self._log.options.machine
        return batch, self._log.new_file(transaction(batch.txid), size, batch.pages, machine)
