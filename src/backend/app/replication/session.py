"""One request's view of a profile's database, in the words of the seam `app.sync.interface`."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import apsw

from app.db import schema
from app.replication.outcomes import Damaged, Fenced, Lost, Outdated, Ticket
from app.replication.replica import Replica
from app.replication.store import StoreError
from app.sync.interface import SchemaTooNew, SyncConflict, SyncDamaged, SyncError, SyncStatus, SyncUnavailable

T = TypeVar("T")
_REPLICA_ERRORS = (Lost, Outdated, StoreError, Damaged, schema.NewerSchema)


def as_sync_error(error: Exception, folder: str) -> SyncError:
    """One of replication's errors in the words of the seam; ``folder`` is the replica's, for the names of objects."""
    if isinstance(error, Lost):
        # A file that came to light behind others' may have been there before them: then nothing is known.
        return (SyncConflict if isinstance(error.cause, Fenced) else SyncUnavailable)(str(error.cause))
    if isinstance(error, Outdated):
        return SyncConflict(str(error))
    if isinstance(error, Damaged):
        return SyncDamaged(f"{posixpath.normpath(folder + error.name)}: {error.problem}")
    if isinstance(error, schema.NewerSchema):
        return SchemaTooNew(str(error))
    return SyncUnavailable(str(error))


class _Outcome(Generic[T]):
    """What a change returned or raised, and whether it changed anything. An exception is an outcome too: it leaves only
    when the store holds the state that it was judged on."""

    result: T
    error: Exception | None = None
    changed = False

    def get(self) -> T:
        if self.error is not None:
            raise self.error
        return self.result


class ReplicatedSession:
    """See `app.sync.interface.Session`. ``folder`` is the replica's, as messages name objects."""

    def __init__(self, replica: Replica, folder: str) -> None:
        self.status = SyncStatus.SYNCED
        self._replica, self._folder = replica, folder
        self._ticket: Ticket | None = None
        self._written: list[Ticket] = []
        self._ended = False

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        result, _ = await self._do(self._replica.read(query, self._ticket))
        return result

    async def write(self, change: Callable[[apsw.Connection], T]) -> T:
        def attempt(connection: apsw.Connection) -> _Outcome[T]:
            before = connection.total_changes()
            outcome = _Outcome[T]()
            try:
                with connection:  # a savepoint: what was changed before an exception is taken back
                    outcome.result = change(connection)
            except (apsw.Error, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - raised below
                outcome.error = error
            outcome.changed = outcome.error is None and connection.total_changes() != before
            return outcome

        outcome, ticket = await self._do(self._replica.write(attempt, self._ticket))
        if not outcome.changed:
            # Nothing is uploaded, so no fence tells a Machine that has lost the profile that it judged an old state.
            await self._do(self._replica.read(lambda _: None, self._ticket, look=True))
            outcome, ticket = await self._do(self._replica.write(attempt, self._ticket))
        if outcome.changed:
            self._written.append(ticket)
        return outcome.get()

    async def settle(self) -> SyncStatus:
        if self._ticket is not None:
            try:
                await self._replica.settle(self._ticket)
            except _REPLICA_ERRORS as error:
                raise self._told(error) from error
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
        except _REPLICA_ERRORS as error:
            raise self._told(error) from error
        self.status = SyncStatus.PENDING
        return result, self._ticket

    def _told(self, error: Exception) -> SyncError:
        told = as_sync_error(error, self._folder)
        if isinstance(told, SyncConflict) and any(map(self._replica.kept, self._written)):
            # A conflict says that nothing of the request was kept.
            told = SyncUnavailable("a part of this request was kept, then another Machine took the profile over")
        self.status = told.status
        return told
