"""The simplest design, for comparison: each group of writes uploads the whole database with compare-and-swap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import apsw

from app.db import schema
from parity.bench.replication_machine import CountingStore

Change = Callable[[apsw.Connection], object]


class WholeFile:
    """A database in memory; a write returns when an object that holds it is stored."""

    def __init__(self, store: CountingStore, key: str) -> None:
        self._store, self._key = store, key
        self._connection = apsw.Connection(":memory:")
        schema.migrate(self._connection)
        self._waiting: list[tuple[Change, asyncio.Future[None]]] = []
        self._etag: str | None = None
        self._worker: asyncio.Task[None] | None = None

    async def write(self, change: Change) -> None:
        """Apply ``change``; returns when it is stored. Writes that arrive during an upload share the next one."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((change, answer))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        await answer

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    async def _work(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            data = await asyncio.to_thread(self._apply, [change for change, _ in group])
            self._etag = await self._store.put_bytes(
                self._key, data, if_match=self._etag, if_none_match=self._etag is None
            )
            for _, answer in group:
                answer.set_result(None)
        self._worker = None

    def _apply(self, changes: list[Change]) -> bytes:
        for change in changes:
            with self._connection:
                change(self._connection)
        return self._connection.serialize("main")
