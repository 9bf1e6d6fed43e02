"""One asyncio lock per key, for as long as anyone wants it: for one writer or for any number of readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _KeyLock:
    """First come, first served: who wants to write holds up those that come later, and waits for the readers."""

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
        """Alone."""
        async with self._lock(bucket, key) as lock, lock.turn:
            await lock.unread.wait()
            yield

    @asynccontextmanager
    async def share(self, bucket: str, key: str) -> AsyncIterator[None]:
        """With others that share, while nobody holds."""
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
