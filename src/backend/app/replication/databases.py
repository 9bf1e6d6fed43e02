"""The databases of all profiles, each replicated to the object store: what `app.sync.interface` promises."""

from __future__ import annotations

import asyncio
import functools
import posixpath
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import apsw

from app import threads
from app.context import UserContext
from app.db import schema
from app.replication.core import Options
from app.replication.maintenance import Maintainer
from app.replication.object_replica import ObjectReplica
from app.replication.outcomes import Damaged, Fenced, Lost, Outdated, Ticket
from app.replication.replica import Replica
from app.replication.store import StoreError
from app.settings import Settings
from app.storage.interface import ObjectStore
from app.storage.keys import Keys, local_database
from app.sync.interface import SchemaTooNew, SyncConflict, SyncDamaged, SyncError, SyncStatus, SyncUnavailable

T = TypeVar("T")
_BYTES_EVERY = 64


class AppSchema:
    """The schema of a profile's database, as replication asks for it."""

    def is_behind(self, connection: apsw.Connection) -> bool:
        found, known = schema.version(connection), len(schema.all_migrations())
        if found > known:
            raise schema.NewerSchema(found, known)
        return found < known

    def migrate(self, connection: apsw.Connection) -> None:
        schema.migrate(connection)


@contextmanager
def _as_sync_errors(folder: str) -> Iterator[None]:
    """Replication's errors in the words of the seam; ``folder`` is the replica's, for the names of objects."""
    try:
        yield
    except Lost as error:
        cause = error.cause
        raise (SyncConflict if isinstance(cause, Fenced | Outdated) else SyncUnavailable)(str(cause)) from error
    except Outdated as error:
        raise SyncConflict(str(error)) from error
    except StoreError as error:
        raise SyncUnavailable(str(error)) from error
    except Damaged as error:
        raise SyncDamaged(f"{posixpath.normpath(folder + error.name)}: {error.problem}") from error
    except schema.NewerSchema as error:
        raise SchemaTooNew(str(error)) from error


class ReplicatedSession:
    """See `app.sync.interface.Session`."""

    def __init__(self, replica: Replica, folder: str) -> None:
        self.status = SyncStatus.SYNCED
        self._replica, self._folder = replica, folder
        self._ticket: Ticket | None = None
        self._written: list[Ticket] = []
        self._ended = False

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        return await self._do(self._replica.read(query, self._epoch))

    async def write(self, change: Callable[[apsw.Connection], T]) -> T:
        result = await self._do(self._replica.write(change, self._epoch))
        self._written += [self._ticket] if self._ticket else []
        return result

    @property
    def _epoch(self) -> int | None:
        """What this session saw belongs to one life of the local copy, and so must all that it goes on to do."""
        return self._ticket.epoch if self._ticket else None

    async def settle(self) -> SyncStatus:
        if self._ticket is not None:
            with self._noted():
                await self._replica.settle(self._ticket)
        self.status = SyncStatus.SYNCED
        return self.status

    def end(self) -> None:
        """Nothing can be read or written any more."""
        self._ended = True

    async def _do(self, work: Coroutine[Any, Any, tuple[T, Ticket]]) -> T:
        if self._ended:
            work.close()
            raise RuntimeError("This session has ended; open another with databases.session(context)")
        with self._noted():
            result, self._ticket = await work
        self.status = SyncStatus.PENDING
        return result

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            with _as_sync_errors(self._folder):
                yield
        except SyncConflict as error:
            if not any(self._replica.kept(ticket) for ticket in self._written):
                self.status = error.status
                raise
            # A conflict says that nothing of the request was kept.
            self.status = SyncUnavailable.status
            raise SyncUnavailable(
                "a part of this request was kept, then another Machine took the profile over"
            ) from error
        except SyncError as error:
            self.status = error.status
            raise


class _Entry:
    """One profile's replica and how many sessions use it; ``resting`` when its connection is closed."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.users = 0
        self.resting = False


class ReplicatedDatabases:
    """See `app.sync.interface.Databases`."""

    def __init__(self, store: ObjectStore, keys: Keys, settings: Settings) -> None:
        self._store, self._keys, self._settings = store, keys, settings
        self._options = Options(
            read_check=settings.sync_read_check_seconds,
            retention=settings.sync_retention_days * 86400.0,
        )
        # Random for each start: a Machine that sleeps and wakes must not take another start's files for its own.
        self._node = secrets.randbits(63)
        self._entries: dict[UserContext, _Entry] = {}
        self._closing: dict[UserContext, asyncio.Task[None]] = {}
        self._sessions = 0
        self._closed = False
        self._executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="sqlite")

    @asynccontextmanager
    async def session(self, context: UserContext) -> AsyncIterator[ReplicatedSession]:
        entry = await self._use(context)
        session = ReplicatedSession(entry.replica, self._keys.profile(context).database_folder)
        try:
            await self._evict()
            yield session
            await session.settle()
        finally:
            session.end()
            entry.users -= 1

    async def forget(self, context: UserContext) -> None:
        if context in self._entries:
            await self._close(context)

    async def close(self) -> None:
        self._closed = True
        await asyncio.gather(*(self._close(context) for context in list(self._entries)), *self._closing.values())
        self._executor.shutdown(wait=True)

    async def _use(self, context: UserContext) -> _Entry:
        while (closing := self._closing.get(context)) is not None:
            await asyncio.wait((closing,))
        if self._closed:
            raise SyncUnavailable("the backend is stopping")
        # Taken out and put back: the dictionary is in the order of last use.
        entry = self._entries.pop(context, None) or _Entry(self._make(context))
        self._entries[context] = entry
        entry.users += 1
        entry.resting = False
        return entry

    async def _close(self, context: UserContext) -> None:
        """Close a replica; until its files are gone no other one for the same profile may be made."""
        task = asyncio.ensure_future(self._entries.pop(context).replica.close())
        self._closing[context] = task
        task.add_done_callback(lambda _: self._closing.pop(context))
        await asyncio.shield(task)

    def _make(self, context: UserContext) -> Replica:
        replica = Replica(
            ObjectReplica(self._store, self._keys.profile(context)),
            local_database(self._settings.user_data_dir, context),
            self._node,
            self._options,
            AppSchema(),
            run=functools.partial(threads.run, self._executor),
            now=time.monotonic,
            wall_ms=lambda: time.time_ns() // 1_000_000,
        )
        Maintainer(replica)
        return replica

    async def _evict(self) -> None:
        """Close the connections of what was used least recently, and drop whole copies past count or bytes.

        Never one that is in use or holds a commit that the store does not.
        """
        self._sessions += 1
        settings, count = self._settings, len(self._entries)
        # Counting bytes asks the disk for each copy: not for every request.
        counts_bytes = self._sessions % _BYTES_EVERY == 0
        if count <= settings.sync_max_open_profiles and not counts_bytes:
            return
        idle = [(c, e) for c, e in self._entries.items() if not e.users and not e.replica.busy]
        for _, entry in idle[: max(0, count - settings.sync_max_open_profiles)]:
            if not entry.resting and not entry.users:
                entry.resting = True
                await entry.replica.rest()
        spare = count - settings.sync_max_cached_profiles
        excess = (
            sum(e.replica.disk_bytes for e in self._entries.values()) - settings.sync_max_cached_bytes
            if counts_bytes
            else 0
        )
        for context, entry in idle:
            if spare <= 0 and excess <= 0:
                return
            if entry.users or entry.replica.busy or self._entries.get(context) is not entry:
                continue
            spare, excess = spare - 1, excess - entry.replica.disk_bytes
            await self._close(context)
