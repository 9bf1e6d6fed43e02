"""A replica in the object store."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from app.replication.layout import FileRef, parse_name
from app.replication.store import FileExists, Listed, StoreError
from app.storage.interface import ObjectMissing, ObjectStore, PreconditionFailed, StorageError
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
        try:
            found = await self._store.list(self._folder)
        except StorageError as error:
            raise StoreError(str(error)) from error
        refs = [
            parse_name(
                item.key.removeprefix(self._folder), item.size, item.modified.timestamp() if item.modified else 0.0
            )
            for item in found
        ]
        return Listed([ref for ref in refs if ref is not None], self._store.date())

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
