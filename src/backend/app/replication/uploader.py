"""Commits on their way to the store: grouped, one file at a time, acknowledged when it is there."""

from app.replication.copy import LocalCopy
from app.replication.errors import Fenced, Outdated, StoreError
from app.replication.layout import transaction
from app.replication.local import Batch, LocalDatabase
from app.replication.log import Log
from app.replication.store import NewFile
from app.replication.tasks import Tasks


class Uploader:
    """Uploads what was committed to the copy, in the background."""

    def __init__(self, copy: LocalCopy, log: Log, tasks: Tasks) -> None:
        self._copy, self._log, self._tasks = copy, log, tasks

    @property
    def active(self) -> bool:
        return "upload" in self._tasks

    def kick(self) -> None:
        """Start uploading, unless nothing is pending or an upload runs already."""
        if not self.active and self._copy.pending:
            self._tasks.start("upload", self._upload, self.kick)

    async def _upload(self) -> None:
        """One file at a time, each with everything that was committed while the one before was on its way."""
        copy = self._copy
        try:
            while (database := copy.database) is not None and copy.pending:
                async with self._log.tail:
                    if not await self._send(database):
                        return
        except Exception as error:
            # Without this, a request that waits for these commits would start the same upload again for ever.
            await copy.dropped(error)
            raise

    async def _send(self, database: LocalDatabase) -> bool:
        """Upload one group. False if there was none, or if the upload failed and the commits were taken back."""
        copy, log = self._copy, self._log
        group = await copy.locally(lambda: self._group(database))
        if group is None:
            return False
        batch, file = group
        try:
            await log.append(file)
        except (Fenced, StoreError) as error:
            log.forget_check()
            await copy.gave_way(database, error)
            return False
        except Outdated as error:
            await copy.dropped(error)
            return False
        await copy.locally(lambda: database.mark_durable(batch.txid, batch.seq, batch.life))
        log.signal.notify()
        return True

    def _group(self, database: LocalDatabase) -> tuple[Batch, NewFile] | None:
        """The next file: everything that is committed and not durable. None for a copy that was dropped meanwhile: the
        clients that wait for its commits get an error."""
        batch = database.take() if self._copy.database is database else None
        if batch is None:
            return None
        size, machine = (database.page_size, batch.commit), self._log.options.machine
        return batch, self._log.new_file(transaction(batch.txid), size, batch.pages, machine)
