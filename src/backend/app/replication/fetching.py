"""Fetching a replica's files side by side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from types import TracebackType

from app.replication.layout import FileRef, GapError, restore_plan
from app.replication.outcomes import Damaged
from app.replication.store import ReplicaStore
from app.storage.interface import READS_AT_ONCE


class Fetching:
    """GETs of one replica's files, at most ``READS_AT_ONCE``; what was begun ahead is not asked for again.

    Use it as a context: what no one waited for is given up at its end.
    """

    def __init__(self, store: ReplicaStore) -> None:
        self._store = store
        self._limit = asyncio.Semaphore(READS_AT_ONCE)
        self._begun: dict[FileRef, asyncio.Task[bytes]] = {}

    async def __aenter__(self) -> Fetching:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._begun.values():
            task.cancel()
        await asyncio.gather(*self._begun.values(), return_exceptions=True)

    def ahead(self, files: Sequence[FileRef]) -> None:
        """Begin with what a copy is built from, as far as ``files`` tell."""
        # A gap here may be filled by files that are not known yet.
        with contextlib.suppress(GapError):
            self._begin(restore_plan(files))

    async def bodies(self, refs: Sequence[FileRef]) -> list[bytes]:
        """The files' bytes. Raises ``Damaged`` for one that is gone, and what the store raises."""
        self._begin(refs)
        return list(await asyncio.gather(*(self._begun[ref] for ref in refs)))

    def _begin(self, refs: Iterable[FileRef]) -> None:
        for ref in refs:
            if ref not in self._begun:
                self._begun[ref] = asyncio.ensure_future(self._body(ref))

    async def _body(self, ref: FileRef) -> bytes:
        async with self._limit:
            data, _ = await self._store.probe(ref)
        if data is None:
            raise Damaged(ref.name, "is missing from the replica")
        return data


async def fetch(store: ReplicaStore, refs: Sequence[FileRef]) -> list[bytes]:
    """The files' bytes, fetched side by side. Raises ``Damaged`` for one that is gone."""
    async with Fetching(store) as fetching:
        return await fetching.bodies(refs)
