"""One request's view of a profile's database, as `app.sync.interface` promises it."""

import posixpath
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import apsw

from app.db import schema
from app.replication.copy import Ticket
from app.replication.errors import Damaged, Declined, Deleted, Fenced, Lost, Outdated, ReplicationError
from app.replication.replica import Replica
from app.sync.interface import SchemaTooNew, SyncConflict, SyncDamaged, SyncError, SyncGone, SyncStatus, SyncUnavailable

T = TypeVar("T")
REPLICA_ERRORS = (ReplicationError, schema.NewerSchema)


def as_sync_error(error: Exception, folder: str) -> SyncError:
    """Translate an error of replication. ``folder`` is the replica's; messages name objects with it."""
    if isinstance(error, Lost):
        # Only a file that was first is a conflict. Behind any other cause it is unknown what was kept.
        first = isinstance(error.cause, Fenced) and error.cause.certain
        return (SyncConflict if first else SyncUnavailable)(str(error.cause))
    if isinstance(error, Outdated):
        return SyncConflict(str(error))
    if isinstance(error, Deleted):
        return SyncGone(str(error))
    if isinstance(error, Damaged):
        return SyncDamaged(f"{posixpath.normpath(folder + error.name)}: {error.problem}")
    if isinstance(error, schema.NewerSchema):
        return SchemaTooNew(str(error))
    return SyncUnavailable(str(error))


class ReplicatedSession:
    """See `app.sync.interface.Session`. ``folder`` is the replica's, as messages name objects; ``at_least`` is the
    TXID that nothing here may lie behind."""

    def __init__(self, replica: Replica, folder: str, at_least: int = 0) -> None:
        self.status = SyncStatus.SYNCED
        self.position: int | None = None
        self._replica, self._folder, self._at_least = replica, folder, at_least
        self._ticket: Ticket | None = None
        self._written: list[Ticket] = []
        self._ended = False

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        result, _ = await self._do(self._replica.read(query, self._ticket, at_least=self._at_least))
        return result

    async def write(self, change: Callable[[apsw.Connection], T]) -> T:
        result, ticket = await self._do(self._replica.write(change, self._ticket, at_least=self._at_least))
        self._written.append(ticket)
        return result

    async def settle(self) -> SyncStatus:
        if self._ticket is not None:
            try:
                await self._replica.settle(self._ticket)
            except REPLICA_ERRORS as error:
                raise self._told(error) from error
            self.position = max(self._replica.position, self._at_least)
        self.status = SyncStatus.SYNCED
        return self.status

    def end(self) -> None:
        """Nothing can be read or written any more."""
        self._ended = True

    async def _do(self, work: Coroutine[Any, Any, tuple[T, Ticket]]) -> tuple[T, Ticket]:
        if self._ended:
            work.close()
            raise RuntimeError("This session has ended; open another with databases.session(context)")
        try:
            result, self._ticket = await work
        except Declined as declined:
            # The caller's own exception, judged on a state that must be durable before the answer leaves.
            self._ticket, self.status = declined.ticket, SyncStatus.PENDING
            raise declined.error from None
        except REPLICA_ERRORS as error:
            raise self._told(error) from error
        self.status = SyncStatus.PENDING
        return result, self._ticket

    def _told(self, error: Exception) -> SyncError:
        told = as_sync_error(error, self._folder)
        if isinstance(told, SyncConflict) and any(map(self._replica.copy.kept, self._written)):
            # A conflict says that nothing of the request was kept.
            told = SyncUnavailable("a part of this request was kept, then another Machine took the profile over")
        self.status = told.status
        return told
