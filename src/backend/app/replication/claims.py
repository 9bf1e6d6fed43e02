"""Who serves a profile: the claim that makes this Machine its owner, and the release that gives it up.

Every file of the log names the Machine that wrote it, and the writer of the newest file is the owner. A claim is an
empty file that is created as the next one; from then on every create of the previous owner is refused.
"""

import asyncio
import logging
from collections.abc import Callable

from app.replication.copy import LocalCopy
from app.replication.errors import Fenced, Lost, Outdated, ReplicationError
from app.replication.follower import Follower
from app.replication.layout import transaction
from app.replication.local import LocalDatabase
from app.replication.log import Log
from app.replication.ltx import has_pages
from app.replication.store import NewFile
from app.replication.uploader import Uploader

logger = logging.getLogger(__name__)
# After that many seconds a claim that other writers keep winning ends as a conflict.
_CLAIM_SECONDS = 10.0
# A claim that met another Machine's claim waits this many times its own create before it tries again, at most so many
# seconds. Otherwise two Machines that both claim would fence each other before either has written.
_BACKOFF, _BACKOFF_SECONDS = 2.0, 5.0


class Claims:
    """Claims and releases one profile."""

    def __init__(self, copy: LocalCopy, log: Log, uploader: Uploader, follower: Follower) -> None:
        self._copy, self._log, self._uploader, self._follower = copy, log, uploader, follower
        self.after_claim: Callable[[], None] = lambda: None

    async def claim(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Create the next file, empty and this Machine's, and bring the schema up; what others wrote meanwhile is
        taken in first. Ends sooner where that was ``enough``, or where the copy was dropped.

        Raises ``Lost`` after `_CLAIM_SECONDS` of other writers' files.
        """
        copy, log = self._copy, self._log
        began = log.now()
        while not copy.owning and not enough() and (database := copy.database) is not None:
            started = log.now()
            async with log.tail:
                lost = await self._try(database)
            if lost is None:
                self._uploader.kick()
                self.after_claim()
                return
            if log.now() - began > _CLAIM_SECONDS:
                raise Lost(lost) from lost
            if lost.ref.min_txid == 1 or not has_pages(lost.data):
                await asyncio.sleep(min(_BACKOFF * (log.now() - started), _BACKOFF_SECONDS))

    async def _try(self, database: LocalDatabase) -> Fenced | None:
        """One try; what it met where another writer was first, and has been taken in."""
        copy, log = self._copy, self._log
        file = await self._file(database, log.options.machine)
        try:
            await log.append(file)
        except Fenced as lost:
            await self._follower.follow(database, file.ref, lost.data)
            return lost
        except Outdated as error:
            await copy.dropped(error)
            raise
        await copy.claimed(database, file.ref.max_txid, log.options.machine)
        return None

    async def release(self) -> None:
        """Give the profile up: an empty file without a Machine's name, so that no request is sent to this one any more.

        The copy must not be used afterwards. A release that fails is logged: the proxy finds that the Machine is gone.
        """
        copy, log = self._copy, self._log
        try:
            async with log.tail:
                database = copy.database
                if database is None or not copy.owning or copy.pending or not log.options.machine:
                    return
                await log.append(await self._file(database, ""))
        except ReplicationError as error:
            logger.info("%s was not released: %s", copy.path, error)

    async def _file(self, database: LocalDatabase, machine: str) -> NewFile:
        """The next file, empty; TXID 1 has all pages of the database instead."""
        ref = transaction(database.txid + 1)

        def make() -> NewFile:
            if ref.min_txid == 1:
                image = database.image()
                return self._log.new_file(ref, (database.page_size, image.commit), image.pages, machine)
            return self._log.new_file(ref, (database.page_size, database.commit), (), machine)

        return await self._copy.locally(make)
