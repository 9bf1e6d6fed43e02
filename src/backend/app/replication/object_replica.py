"""A replica in the object store."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence

from app.replication.layout import FileRef, GapError, highest, parse_name, restore_plan
from app.replication.store import FileExists, Listed, StoreError
from app.storage.interface import ObjectInfo, ObjectMissing, ObjectStore, PreconditionFailed, StorageError
from app.storage.keys import ProfileKeys

# Litestream's restore reads a file's time from here, else from the object's own.
_TIMESTAMP = "litestream-timestamp"


class ObjectReplica:
    """See `app.replication.store.ReplicaStore`. Deadlines and retries are the object store's."""

    def __init__(self, store: ObjectStore, keys: ProfileKeys) -> None:
        self._store = store
        self._folder = keys.database_folder
        self._legacy = keys.database

    async def create(self, ref: FileRef, data: bytes, timestamp_ms: int) -> float:
        moment = datetime.datetime.fromtimestamp(timestamp_ms / 1000, datetime.UTC)
        text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            await self._store.put_bytes(self._folder + ref.name, data, if_none_match=True, metadata={_TIMESTAMP: text})
        except PreconditionFailed:
            raise FileExists(ref.name) from None
        except StorageError as error:
            raise StoreError(str(error)) from error
        return self._store.date()

    async def probe(self, ref: FileRef) -> tuple[bytes | None, float]:
        data = await self._get(self._folder + ref.name)
        return data, self._store.date()

    async def list(self) -> Listed:
        return Listed(self._refs(await self._keys()), self._store.date())

    async def recent(self, early: Callable[[Sequence[FileRef]], None] | None = None) -> Listed:
        # Level 0 comes first in the order of keys and is nearly all of a long log; what lies above says where its
        # newest part begins.
        merged = self._refs(await self._keys(after="0000/~"))
        if early is not None:
            early(merged)
        newest = self._refs(await self._keys("0000/", after=f"0000/{highest(merged):016x}~"))
        refs = [*newest, *merged]
        try:
            restore_plan(refs)
        except GapError:
            return await self.list()
        return Listed(refs, self._store.date())

    async def _keys(self, within: str = "", *, after: str = "") -> Sequence[ObjectInfo]:
        try:
            return await self._store.list(self._folder + within, after=self._folder + after if after else "")
        except StorageError as error:
            raise StoreError(str(error)) from error

    def _refs(self, found: Sequence[ObjectInfo]) -> Sequence[FileRef]:
        refs = (
            parse_name(
                item.key.removeprefix(self._folder), item.size, item.modified.timestamp() if item.modified else 0.0
            )
            for item in found
        )
        return [ref for ref in refs if ref is not None]

    async def legacy(self) -> bytes | None:
        return await self._get(self._legacy)

    async def delete(self, refs: Sequence[FileRef]) -> None:
        try:
            for ref in refs:
                await self._store.delete(self._folder + ref.name)
        except StorageError as error:
            raise StoreError(str(error)) from error

    async def _get(self, key: str) -> bytes | None:
        try:
            return (await self._store.get_bytes(key)).data
        except ObjectMissing:
            return None
        except StorageError as error:
            raise StoreError(str(error)) from error
