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


class SyncGone(SyncError):
    """The profile was deleted; its id is never used again."""


class SchemaTooNew(SyncError):
    """The database was written by a newer release; this one refuses to touch it."""


class OwnedElsewhere(SyncError):
    """Another Machine serves the profile; work in the background is that Machine's."""


class Session(Protocol):
    """One request's or one job step's view of one profile's database.

    All methods raise `SyncConflict` when the view is no longer the profile's, `SyncUnavailable` when the store cannot
    be asked, and RuntimeError once the session has ended.
    """

    @property
    def position(self) -> int | None:
        """The TXID that holds all that the session wrote or saw; None before `settle` or where it did neither."""
        ...

    @property
    def status(self) -> SyncStatus:
        """`pending` from a write until it is settled."""
        ...

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        """Runs `query` in a thread. It must not write."""
        ...

    async def write(self, change: Callable[[apsw.Connection], T]) -> T:
        """Runs `change` in a thread as one transaction; an exception rolls it back and is raised here.

        A decision belongs wholly into `change`: it is judged on the state that the write joins. A write that follows a
        read of the same session raises `SyncConflict` where another Machine's changes came in between.
        """
        ...

    async def settle(self) -> SyncStatus:
        """Returns when the store holds everything that this session wrote or saw."""
        ...


class Databases(Protocol):
    """The databases of all profiles. ``when_owned`` is called each time this Machine becomes the owner of one."""

    when_owned: Callable[[UserContext], None]

    def session(
        self, context: UserContext, *, at_least: int = 0, serving: bool = False
    ) -> AbstractAsyncContextManager[Session]:
        """A session that is settled on a clean exit (after an exception in its block it is not).

        Nothing in it lies behind the TXID `at_least`. With `serving` this Machine becomes the profile's owner, unless
        it was the owner until the session found that another Machine is.
        """
        ...

    async def elsewhere(self, context: UserContext) -> str:
        """The id of the Machine that serves the profile, where that is another one; else empty.

        Opens no database. Raises as a session does.
        """
        ...

    async def forget(self, context: UserContext) -> None:
        """Drops the local copy of a profile that was deleted."""
        ...

    async def close(self) -> None:
        """Waits for uploads that run, gives up what this Machine owns, then closes every database."""
        ...
