"""A disposable copy of one profile's database: its file, its connection, and which of its commits the store holds."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import apsw

from app import threads
from app.storage.interface import ObjectStore, PreconditionFailed, StorageError
from app.sync.interface import SyncConflict, SyncError, SyncUnavailable

T = TypeVar("T")


class LocalCopy:
    """A database that was fetched once and is written back whole.

    `version` counts local commits, `durable` those that the store holds. Writes that arrive while an upload runs share
    the next one. When an upload fails the copy is dead (`error`): its file is gone, and whoever wrote to it, or saw
    what was not yet durable, gets the error.
    """

    def __init__(self, connection: apsw.Connection, path: Path, etag: str | None, store: ObjectStore, key: str) -> None:
        self.etag = etag
        """What the store holds; None where it holds nothing."""
        self.version = 0
        self.durable = 0
        self.error: SyncError | None = None
        self.checked_at = 0.0
        """When the store last confirmed `etag`, on the loop's clock."""
        self._connection = connection
        self._path = path
        self._store = store
        self._key = key
        self._lock = asyncio.Lock()
        self._upload: asyncio.Task[None] | None = None

    async def read(self, executor: Executor, query: Callable[[apsw.Connection], T]) -> tuple[T, int]:
        """The query's result and the version it saw."""
        async with self._lock:
            self._check()
            result = await threads.run(executor, functools.partial(_read, self._connection, query))
            return result, self.version

    async def write(self, executor: Executor, change: Callable[[apsw.Connection], T]) -> tuple[T, int]:
        """The change's result and the version it made; a change that changed nothing makes none."""
        async with self._lock:
            self._check()
            before = self._connection.total_changes()
            result = await threads.run(executor, functools.partial(_write, self._connection, change))
            if self._connection.total_changes() != before:
                self.version += 1
            return result, self.version

    async def settle(self, executor: Executor, version: int) -> None:
        """Returns when the store holds `version`. Raises what made the copy die, unless `version` came first."""
        while self.durable < version:
            self._check()
            await asyncio.shield(self.start_upload(executor))

    def start_upload(self, executor: Executor) -> asyncio.Task[None]:
        """The upload that runs, or a new one; it never raises, but may leave the copy dead."""
        if self._upload is None or self._upload.done():
            self._upload = asyncio.create_task(self._upload_once(executor))
        return self._upload

    @property
    def dirty(self) -> bool:
        """Whether there are commits that the store does not hold."""
        return self.error is None and self.durable < self.version

    async def close(self, executor: Executor, reason: SyncError | None = None) -> None:
        """Ends the copy and removes its file; further use raises `reason`. Closing twice waits for the first."""
        async with self._lock:
            if self.error is not None:
                return
            self.error = reason or SyncConflict("the local copy of the database was replaced")
            await threads.run(executor, self._discard)

    def _check(self) -> None:
        if self.error is not None:
            raise type(self.error)(str(self.error)) from self.error

    async def _upload_once(self, executor: Executor) -> None:
        async with self._lock:
            if self.error is not None:
                return
            version = self.version
            data = await threads.run(executor, lambda: self._connection.serialize("main"))
        # The lock is free here: other requests read and write while the upload runs.
        try:
            etag = await self._store.put_bytes(self._key, data, if_match=self.etag, if_none_match=self.etag is None)
        except PreconditionFailed:
            await self.close(executor, SyncConflict("another Machine wrote this database first"))
        except StorageError as error:
            # The write may have happened all the same: only a fresh copy can tell.
            await self.close(executor, SyncUnavailable(f"the database could not be stored: {error}"))
        else:
            self.etag = etag
            self.durable = version
            self.checked_at = asyncio.get_running_loop().time()

    def _discard(self) -> None:
        self._connection.close()
        with suppress(FileNotFoundError):
            self._path.unlink()


def open_file(folder: Path, data: bytes | None) -> tuple[apsw.Connection, Path]:
    """A connection to a fresh file in `folder` that holds `data`, or to an empty database.

    Whatever lies there is dropped: it was left by a process that ended, or by a copy that was closed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "database.sqlite"
    path.unlink(missing_ok=True)
    if data is not None:
        path.write_bytes(data)
    connection = apsw.Connection(str(path))
    # The file does not outlive the process, so it needs neither a journal on disk nor fsync.
    connection.pragma("journal_mode", "MEMORY")
    connection.pragma("synchronous", "OFF")
    connection.pragma("foreign_keys", True)
    connection.set_busy_timeout(5000)
    return connection, path


def _read(connection: apsw.Connection, query: Callable[[apsw.Connection], T]) -> T:
    connection.pragma("query_only", True)
    try:
        return query(connection)
    finally:
        connection.pragma("query_only", False)


def _write(connection: apsw.Connection, change: Callable[[apsw.Connection], T]) -> T:
    with connection:
        result = change(connection)  # not returned here: the commit is part of the write
    return result  # noqa: RET504 - mypy holds that leaving the block by return may be swallowed
