"""Who serves a profile: the claim that makes this Machine its owner, and the release that gives it up.

Every file of the log names the Machine that wrote it, and the writer of the newest file is the owner. A claim is an
empty file that is created as the next one; from then on every create of the previous owner is refused.
"""

import logging
from collections.abc import Callable

from app.replication.copy import LocalCopy
from app.replication.errors import Fenced, Lost, Outdated, ReplicationError
from app.replication.follower import Follower
from app.replication.layout import transaction
from app.replication.local import LocalDatabase
from app.replication.log import Log
from app.replication.store import NewFile
from app.replication.uploader import Uploader

logger = logging.getLogger(__name__)
# After that many seconds a claim that other writers keep winning ends as a conflict.
_CLAIM_SECONDS = 10.0


class Claims:
    """Claims and releases one profile."""

    def __init__(self, copy: LocalCopy, log: Log, uploader: Uploader, follower: Follower) -> None:
        self._copy, self._log, self._uploader, self._follower = copy, log, uploader, follower
        self.after_claim: Callable[[], None] = lambda: None

    async def claim(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Create the next file, empty and this Machine's, and bring the schema up; what others wrote meanwhile is taken
        in first. Ends sooner where that was ``enough``, or where the copy was dropped. Raises ``Lost`` after
        `_CLAIM_SECONDS` of other writers' files."""
        copy, log = self._copy, self._log
        began = log.now()
        while not copy.owning and not enough() and (database := copy.database) is not None:
            async with log.tail:
                file = await self._file(database, log.options.machine)
                try:
                    await log.append(file)
                except Fenced as fenced:
                    lost = fenced
                    await self._follower.follow(database, file.ref, lost.data)
                except Outdated as error:
                    await copy.dropped(error)
                    raise
                else:
                    await copy.claimed(database, file.ref.max_txid, log.options.machine)
                    self._uploader.kick()
                    self.after_claim()
                    return
            if log.now() - began > _CLAIM_SECONDS:
                raise Lost(lost) from lost

    async def release(self) -> None:
        """Give the profile up: an empty file without a Machine's name, so that no request is sent to this one any more.
        The copy must not be used afterwards. One that fails is logged: the proxy finds that the Machine is gone."""
        copy, log = self._copy, self._log
        try:
            async with log.tail:
                database = copy.database
                if database is None or not copy.owning or not log.options.machine:
                    return
                file = await self._file(database, "")
                # Only now: a commit that came before the file was made has given it a size that the replica lacks.
                if not copy.pending:
                    await log.append(file)
        except ReplicationError as error:
            logger.info("%s was not released: %s", copy.path, error)

    async def _file(self, database: LocalDatabase, machine: str) -> NewFile:
        """The next file, empty; TXID 1 has all pages of the database instead."""
        ref = transaction(database.txid + 1)

        def make() -> NewFile:
            pages = database.image().pages if ref.min_txid == 1 else ()
            return self._log.new_file(ref, (database.page_size, database.commit), pages, machine)

        return await self._copy.locally(make)
