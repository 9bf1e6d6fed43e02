"""First version of sync: the whole database is one object, replaced under If-Match, created under If-None-Match.

One lock per profile is held while its copy is fetched; no lock is held while one is stored; none is shared by
profiles. Missing is only what the store says is missing. Nothing is created remotely for a reader.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import apsw

from app import threads
from app.context import UserContext
from app.db import schema
from app.settings import Settings
from app.storage.interface import ObjectMissing, ObjectStore, PreconditionFailed, StorageError
from app.storage.keys import Keys, local_database
from app.sync.interface import SchemaTooNew, SyncConflict, SyncError, SyncStatus, SyncUnavailable
from app.sync.local_copy import LocalCopy, open_file

T = TypeVar("T")
_OPEN_TRIES = 4


class _Profile:
    """What is kept of one profile between requests."""

    def __init__(self) -> None:
        self.opening = asyncio.Lock()
        self.copy: LocalCopy | None = None
        self.users = 0


class WholeFileSession:
    """A session on one local copy; see `app.sync.interface.Session`."""

    def __init__(self, copy: LocalCopy, executor: ThreadPoolExecutor) -> None:
        self.status = SyncStatus.SYNCED
        self._copy = copy
        self._executor = executor
        self._seen = 0
        self._ended = False

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        self._check()
        with _status_of_errors(self):
            result, version = await self._copy.read(self._executor, query)
        self._saw(version)
        return result

    async def write(self, change: Callable[[apsw.Connection], T]) -> T:
        self._check()
        with _status_of_errors(self):
            result, version = await self._copy.write(self._executor, change)
        self._saw(version)
        return result

    async def settle(self) -> SyncStatus:
        with _status_of_errors(self):
            await self._copy.settle(self._executor, self._seen)
        self.status = SyncStatus.SYNCED
        return self.status

    def end(self) -> None:
        """Nothing can be read or written any more; what was committed is uploaded whether anyone waits or not."""
        self._ended = True
        if self._copy.dirty:
            self._copy.start_upload(self._executor)

    def _check(self) -> None:
        if self._ended:
            raise RuntimeError("This session has ended; open another with databases.session(context)")

    def _saw(self, version: int) -> None:
        self._seen = max(self._seen, version)
        if self._copy.durable < self._seen:
            self.status = SyncStatus.PENDING


@contextmanager
def _status_of_errors(session: WholeFileSession) -> Iterator[None]:
    try:
        yield
    except SyncError as error:
        session.status = error.status
        raise


class WholeFileDatabases:
    """See `app.sync.interface.Databases`."""

    def __init__(self, store: ObjectStore, keys: Keys, settings: Settings) -> None:
        self._store = store
        self._keys = keys
        self._user_data = settings.user_data_dir
        self._read_check = settings.sync_read_check_seconds
        self._max_open = settings.sync_max_open_profiles
        self._profiles: dict[UserContext, _Profile] = {}
        self._closed = False
        self._executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="sqlite")

    @asynccontextmanager
    async def session(self, context: UserContext) -> AsyncIterator[WholeFileSession]:
        profile = self._use(context)
        profile.users += 1
        try:
            session = WholeFileSession(await self._copy_of(context, profile), self._executor)
            await self._evict()
            try:
                yield session
                await session.settle()
            finally:
                session.end()
        finally:
            profile.users -= 1

    async def forget(self, context: UserContext) -> None:
        profile = self._profiles.get(context)
        if profile is None:
            return
        async with profile.opening:
            if profile.copy is not None:
                await profile.copy.close(self._executor)
                profile.copy = None

    async def close(self) -> None:
        self._closed = True
        copies = [profile.copy for profile in self._profiles.values() if profile.copy is not None]
        for copy in copies:
            if copy.dirty:
                await copy.start_upload(self._executor)
            await copy.close(self._executor, SyncUnavailable("the backend is stopping"))
        self._executor.shutdown(wait=True)

    def _use(self, context: UserContext) -> _Profile:
        if self._closed:
            raise SyncUnavailable("the backend is stopping")
        # Taken out and put back: the dictionary is in the order of last use.
        profile = self._profiles.pop(context, None) or _Profile()
        self._profiles[context] = profile
        return profile

    async def _copy_of(self, context: UserContext, profile: _Profile) -> LocalCopy:
        async with profile.opening:
            copy = profile.copy
            if copy is not None and (copy.error is not None or not await self._still_current(context, copy)):
                # Requests that are still on it get a conflict: their view is no longer the profile's.
                await copy.close(self._executor)
                copy = profile.copy = None
            if copy is None:
                copy = profile.copy = await self._open(context)
            return copy

    async def _still_current(self, context: UserContext, copy: LocalCopy) -> bool:
        """Whether the store still holds what the copy was made from; asked only when the last answer is too old."""
        now = asyncio.get_running_loop().time()
        if copy.dirty or now - copy.checked_at < self._read_check:
            return True  # an upload that is under way asks the same question by its condition
        known = copy.etag
        try:
            found = (await self._store.head(self._keys.profile(context).database)).etag
        except ObjectMissing:
            found = None
        except StorageError as error:
            raise SyncUnavailable(f"the database could not be checked: {error}") from error
        if copy.etag != known or copy.dirty:
            return True  # it was written and stored meanwhile, which is newer knowledge
        copy.checked_at = now
        return found == known

    async def _open(self, context: UserContext) -> LocalCopy:
        """A fresh copy with the newest schema; an old database is migrated in the store first."""
        key = self._keys.profile(context).database
        folder = local_database(self._user_data, context).parent
        for _ in range(_OPEN_TRIES):
            started = asyncio.get_running_loop().time()
            try:
                stored = await self._store.get_bytes(key)
                data, etag = stored.data, stored.etag
            except ObjectMissing:
                data, etag = None, None
            except StorageError as error:
                raise SyncUnavailable(f"the database could not be fetched: {error}") from error
            connection, path, migrated = await threads.run(
                self._executor, functools.partial(_open_migrated, folder, data)
            )
            copy = LocalCopy(connection, path, etag, self._store, key)
            copy.checked_at = started
            if migrated is None or etag is None:
                return copy
            try:
                copy.etag = await self._store.put_bytes(key, migrated, if_match=etag)
            except PreconditionFailed:
                await copy.close(self._executor)  # another Machine migrated or wrote: look again
            except StorageError as error:
                await copy.close(self._executor)
                raise SyncUnavailable(f"the migrated database could not be stored: {error}") from error
            else:
                return copy
        raise SyncConflict("other Machines kept writing this database while it was opened")

    async def _evict(self) -> None:
        """Closes what was used least recently, as far as nobody uses it and the store holds all of it."""
        for context, profile in list(self._profiles.items()):
            if len(self._profiles) <= self._max_open:
                return
            if profile.users or (profile.copy is not None and profile.copy.dirty):
                continue
            async with profile.opening:
                if profile.copy is not None:
                    await profile.copy.close(self._executor)
                    profile.copy = None
                if not profile.users and self._profiles.get(context) is profile:
                    del self._profiles[context]


def _open_migrated(folder: Path, data: bytes | None) -> tuple[apsw.Connection, Path, bytes | None]:
    """The connection, its file, and the database's new bytes where it had to be migrated."""
    connection, path = open_file(folder, data)
    try:
        changed = schema.migrate(connection)
    except schema.NewerSchema as error:
        _abandon(connection, path)
        raise SchemaTooNew(str(error)) from error
    except apsw.Error as error:
        _abandon(connection, path)
        raise SyncUnavailable(f"the stored database cannot be opened: {error}") from error
    return connection, path, connection.serialize("main") if changed else None


def _abandon(connection: apsw.Connection, path: Path) -> None:
    connection.close()
    path.unlink(missing_ok=True)
