"""The seam between requests and the way a profile's database reaches the object store."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Protocol, TypeVar

import apsw

from app.context import UserContext

T = TypeVar("T")


class SyncStatus(StrEnum):
    """What a response says in `X-Sync-Status`."""

    SYNCED = "synced"
    PENDING = "pending"
    FAILED = "failed"
    CONFLICT = "conflict"


class SyncError(Exception):
    """Base of the errors below; `status` is what the response says."""

    status = SyncStatus.FAILED


class SyncConflict(SyncError):
    """Another Machine wrote first. Nothing of this session was kept; a new session sees the other's state."""

    status = SyncStatus.CONFLICT


class SyncUnavailable(SyncError):
    """The object store could not be asked. It is unknown whether what the session wrote was kept."""


class SyncDamaged(SyncError):
    """What the store holds is no database: the message names the object. Nothing is written until someone mends it."""


class SchemaTooNew(SyncError):
    """The database was written by a newer release; this one refuses to touch it."""


class Session(Protocol):
    """One request's or one job step's view of one profile's database.

    All methods raise `SyncConflict` when the view is no longer the profile's, `SyncUnavailable` when the store cannot
    be asked, and RuntimeError once the session has ended.
    """

    @property
    def status(self) -> SyncStatus:
        """`pending` from a write until it is settled."""
        ...

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        """Runs `query` in a thread. It must not write."""
        ...

    async def write(self, change: Callable[[apsw.Connection], T]) -> T:
        """Runs `change` in a thread as one transaction; an exception rolls it back and is raised here."""
        ...

    async def settle(self) -> SyncStatus:
        """Returns when the store holds everything that this session wrote or saw."""
        ...


class Databases(Protocol):
    """The databases of all profiles."""

    def session(self, context: UserContext) -> AbstractAsyncContextManager[Session]:
        """A session that is settled on a clean exit (after an exception in its block it is not)."""
        ...

    async def forget(self, context: UserContext) -> None:
        """Drops the local copy of a profile that was deleted."""
        ...

    async def close(self) -> None:
        """Waits for uploads that run, then closes every database."""
        ...
