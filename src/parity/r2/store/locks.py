"""One asyncio lock per key, for as long as anyone wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class KeyLocks:
    """Locks by bucket and key; unused ones are forgotten."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, bucket: str, key: str) -> AsyncIterator[None]:
        lock, users = self._locks.get((bucket, key), (asyncio.Lock(), 0))
        self._locks[bucket, key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[bucket, key]
            if users == 1:
                del self._locks[bucket, key]
            else:
                self._locks[bucket, key] = (lock, users - 1)

    def __len__(self) -> int:
        return len(self._locks)
