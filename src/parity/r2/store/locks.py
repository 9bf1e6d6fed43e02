"""One asyncio lock per key, held by one writer or by any number of readers, and removed when unused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _KeyLock:
    """A fair lock: a writer waits for the current readers, and later readers wait for the writer."""

    def __init__(self) -> None:
        self.users = self.readers = 0
        self.turn = asyncio.Lock()
        self.unread = asyncio.Event()
        self.unread.set()


class KeyLocks:
    """Locks by bucket and key; unused ones are forgotten."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], _KeyLock] = {}

    @asynccontextmanager
    async def _lock(self, bucket: str, key: str) -> AsyncIterator[_KeyLock]:
        lock = self._locks.setdefault((bucket, key), _KeyLock())
        lock.users += 1
        try:
            yield lock
        finally:
            lock.users -= 1
            if not lock.users:
                del self._locks[bucket, key]

    @asynccontextmanager
    async def hold(self, bucket: str, key: str) -> AsyncIterator[None]:
        """Hold the lock exclusively."""
        async with self._lock(bucket, key) as lock, lock.turn:
            await lock.unread.wait()
            yield

    @asynccontextmanager
    async def share(self, bucket: str, key: str) -> AsyncIterator[None]:
        """Hold the lock together with other readers."""
        async with self._lock(bucket, key) as lock:
            async with lock.turn:
                lock.readers += 1
                lock.unread.clear()
            try:
                yield
            finally:
                lock.readers -= 1
                if not lock.readers:
                    lock.unread.set()

    def __len__(self) -> int:
        return len(self._locks)
