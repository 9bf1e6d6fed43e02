"""The databases of all profiles, each replicated to the object store: what `app.sync.interface` promises."""

import asyncio
import functools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app import threads, timestamps
from app.context import UserContext
from app.db import schema
from app.replication.log import Options
from app.replication.ltx import is_machine_name
from app.replication.maintenance import Maintainer
from app.replication.object_replica import ObjectReplica, as_store_errors
from app.replication.replica import Replica
from app.replication.session import REPLICA_ERRORS, ReplicatedSession, as_sync_error
from app.settings import Settings
from app.storage.interface import ObjectStore
from app.storage.keys import Keys, local_database
from app.sync.interface import SyncUnavailable

# Releasing what this Machine owns may take that many seconds of a stop: Fly kills after `kill_timeout`.
_RELEASE_SECONDS = 2.0


@dataclass(eq=False)
class _Entry:
    """One profile's replica and the key of its folder. ``users`` counts the sessions that use it; ``bytes`` is the
    size of its local copy after the last session."""

    replica: Replica
    folder: str
    users: int = 0
    bytes: int = 0


class ReplicatedDatabases:
    """See `app.sync.interface.Databases`. ``was_begun`` says of a profile whether its log must have files."""

    def __init__(
        self,
        store: ObjectStore,
        keys: Keys,
        settings: Settings,
        was_begun: Callable[[UserContext], Awaitable[bool]] | None = None,
    ) -> None:
        self._store, self._keys, self._settings, self._was_begun = store, keys, settings, was_begun
        machine = settings.fly_machine_id
        self._options = Options(
            read_check=settings.sync_read_check_seconds,
            retention=settings.sync_retention_days * 86400.0,
            # A name that the log cannot hold is none: then this Machine is never sent a request, and serves all.
            machine=machine if is_machine_name(machine) else "",
        )
        # Random for each start: a Machine that sleeps and wakes must not take another start's files for its own.
        self._node = secrets.randbits(63)
        # In the order of last use, as those of them whose connection may be open.
        self._entries: dict[UserContext, _Entry] = {}
        self._open: dict[UserContext, _Entry] = {}
        self._bytes = 0
        self._closing: dict[UserContext, asyncio.Task[None]] = {}
        self._closed = False
        self.when_owned: Callable[[UserContext], None] = lambda _: None
        self._executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="sqlite")

    @asynccontextmanager
    async def session(
        self, context: UserContext, *, at_least: int = 0, serving: bool = False
    ) -> AsyncIterator[ReplicatedSession]:
        async with self._using(context) as entry:
            session = ReplicatedSession(entry.replica, entry.folder, at_least)
            owning = entry.replica.copy.owning
            try:
                yield session
                await session.settle()
                # An owner that has just learned of a new one gives way. Otherwise two Machines that both still get
                # requests would take the profile from each other for ever.
                if serving and not owning:
                    entry.replica.claim_soon()
            finally:
                session.end()

    async def elsewhere(self, context: UserContext) -> str:
        if not self._options.machine:
            return ""
        async with self._using(context) as entry:
            try:
                return await entry.replica.elsewhere()
            except REPLICA_ERRORS as error:
                raise as_sync_error(error, entry.folder) from error

    async def forget(self, context: UserContext) -> None:
        if context in self._entries:
            await self._close(context, release=False)

    async def close(self) -> None:
        self._closed = True
        await asyncio.gather(*(self._close(context) for context in list(self._entries)), *self._closing.values())
        self._executor.shutdown(wait=True)

    @asynccontextmanager
    async def _using(self, context: UserContext) -> AsyncIterator[_Entry]:
        """The profile's entry, which is not evicted meanwhile."""
        while (closing := self._closing.get(context)) is not None:
            await asyncio.wait((closing,))
        if self._closed:
            raise SyncUnavailable("the backend is stopping")
        # Taken out and put back: the dictionaries are in the order of last use.
        entry = self._entries.pop(context, None) or self._make(context)
        self._entries[context] = entry
        self._open.pop(context, None)
        self._open[context] = entry
        entry.users += 1
        try:
            if self._is_full or len(self._open) > self._settings.sync_max_open_profiles:
                await self._evict()
            yield entry
        finally:
            entry.users -= 1
            self._count_bytes(context, entry)

    async def _close(self, context: UserContext, *, release: bool = True) -> None:
        """Close a replica; until its files are gone no other one for the same profile may be made."""
        entry = self._entries.pop(context)
        self._open.pop(context, None)
        self._bytes -= entry.bytes
        task = asyncio.ensure_future(entry.replica.close(release_seconds=_RELEASE_SECONDS if release else 0.0))
        self._closing[context] = task
        task.add_done_callback(lambda _: self._closing.pop(context))
        await asyncio.shield(task)

    def _make(self, context: UserContext) -> _Entry:
        keys = self._keys.profile(context)
        replica = Replica(
            ObjectReplica(self._store, keys),
            local_database(self._settings.user_data_dir, context),
            self._node,
            self._options,
            schema,
            run=functools.partial(threads.run, self._executor),
            now=time.monotonic,
            wall_ms=timestamps.unix_ms,
            was_begun=functools.partial(self._must_exist, context),
        )
        Maintainer(replica)
        replica.claims.after_claim = lambda: self.when_owned(context)
        return _Entry(replica, keys.database_folder)

    async def _must_exist(self, context: UserContext) -> bool:
        with as_store_errors():
            return self._was_begun is not None and await self._was_begun(context)

    async def _evict(self) -> None:
        """Close the connections of what was used least recently, and drop whole copies past count or bytes; never one
        that is in use or holds a commit that the store does not."""
        settings = self._settings
        spare = len(self._open) - settings.sync_max_open_profiles
        for context, entry in list(self._open.items()) if spare > 0 else ():
            if spare <= 0:
                break
            if entry.users or entry.replica.busy or self._open.get(context) is not entry:
                continue
            spare -= 1
            del self._open[context]
            if not await entry.replica.rest() and self._entries.get(context) is entry:
                self._open.setdefault(context, entry)
        for context in list(self._entries) if self._is_full else ():
            if not self._is_full:
                return
            found = self._entries.get(context)
            if found is not None and not found.users and not found.replica.busy:
                await self._close(context)

    @property
    def _is_full(self) -> bool:
        settings = self._settings
        return len(self._entries) > settings.sync_max_cached_profiles or self._bytes > settings.sync_max_cached_bytes

    def _count_bytes(self, context: UserContext, entry: _Entry) -> None:
        """Correct the total by this copy's size. To add up thousands of copies would block the event loop."""
        if self._entries.get(context) is entry:
            self._bytes -= entry.bytes
            entry.bytes = entry.replica.disk_bytes
            self._bytes += entry.bytes
