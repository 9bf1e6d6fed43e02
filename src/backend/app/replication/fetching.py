"""Fetches a replica's files in parallel, and verifies that each is whole and holds what its name says."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from app.replication.errors import Damaged, Deleted, GapError, LtxError
from app.replication.layout import EMPTIED, FileRef, restore_plan, transaction
from app.replication.ltx import LtxFile, decode
from app.replication.store import ReplicaStore
from app.storage.interface import READS_AT_ONCE


class Fetching:
    """GETs of one replica's files, at most ``READS_AT_ONCE`` at a time; a file is asked for once. A context: what has
    not arrived at its end is given up."""

    def __init__(self, store: ReplicaStore) -> None:
        self._store = store
        self._limit = asyncio.Semaphore(READS_AT_ONCE)
        self._begun: dict[FileRef, asyncio.Task[bytes]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._begun.values():
            task.cancel()
        await asyncio.gather(*self._begun.values(), return_exceptions=True)

    def ahead(self, files: Sequence[FileRef]) -> None:
        """Begin with what a copy is built from, as far as ``files`` tell."""
        # A gap here may be filled by files that are not known yet.
        with contextlib.suppress(GapError):
            self._begin(restore_plan(files))

    async def bodies(self, refs: Sequence[FileRef]) -> dict[FileRef, bytes]:
        """The files' bytes. Raises ``Damaged`` for one that is gone, and what the store raises."""
        self._begin(refs)
        return dict(zip(refs, await asyncio.gather(*(self._begun[ref] for ref in refs)), strict=True))

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


async def fetch(store: ReplicaStore, refs: Sequence[FileRef]) -> dict[FileRef, bytes]:
    """The files' bytes, fetched side by side. Raises ``Damaged`` for one that is gone."""
    async with Fetching(store) as fetching:
        return await fetching.bodies(refs)


def planned(make: Callable[..., list[FileRef]], *arguments: Any) -> list[FileRef]:
    """The plan that ``make`` makes of a list of files. Raises ``Damaged`` where files are missing in between."""
    try:
        return make(*arguments)
    except GapError as error:
        raise Damaged(transaction(error.txid).name, str(error)) from error


def decoded(ref: FileRef, data: bytes, *, with_index: bool = True) -> LtxFile:
    """The file, which must be whole and hold the TXIDs that its name says. Raises ``Damaged``, naming it."""
    if data == EMPTIED:
        raise Deleted(ref.name, "was emptied when the profile was deleted")
    try:
        file = decode(data, with_index=with_index)
    except LtxError as error:
        raise Damaged(ref.name, str(error)) from error
    if (file.header.min_txid, file.header.max_txid) != (ref.min_txid, ref.max_txid):
        raise Damaged(ref.name, f"holds TXIDs {file.header.min_txid:x} to {file.header.max_txid:x}")
    return file
