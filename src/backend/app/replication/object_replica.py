"""A replica in the object store."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from app.replication.layout import FileRef, GapError, highest, parse_name, restore_plan
from app.replication.store import FileExists, Listed, NewFile, StoreError
from app.storage.interface import NewObject, ObjectInfo, ObjectMissing, ObjectStore, PreconditionFailed, StorageError
from app.storage.keys import ProfileKeys

# Litestream's restore reads a file's time from here, else from the object's own.
_TIMESTAMP = "litestream-timestamp"


@contextmanager
def _as_store_errors() -> Iterator[None]:
    """The object store's errors in the words of replication."""
    try:
        yield
    except StorageError as error:
        raise _as_store_error(error) from error


def _as_store_error(error: StorageError) -> FileExists | StoreError:
    return (FileExists if isinstance(error, PreconditionFailed) else StoreError)(str(error))


class ObjectReplica:
    """See `app.replication.store.ReplicaStore`. Deadlines and retries are the object store's."""

    def __init__(self, store: ObjectStore, keys: ProfileKeys) -> None:
        self._store = store
        self._folder = keys.database_folder
        self._legacy = keys.database

    async def create(self, file: NewFile) -> float:
        new = self._object(file)
        with _as_store_errors():
            await self._store.put_bytes(new.key, new.data, if_none_match=True, metadata=new.metadata)
        return self._store.date()

    def create_made(
        self, make: Callable[[], NewFile | None], made: Callable[[], None]
    ) -> Coroutine[Any, Any, float | None]:
        def new_object() -> NewObject | None:
            file = make()
            return None if file is None else self._object(file)

        return self._created(self._store.create_made(new_object, made))

    async def _created(self, creating: Coroutine[Any, Any, str | None]) -> float | None:
        try:
            etag = await creating
        except StorageError as error:
            raise _as_store_error(error) from error
        return None if etag is None else self._store.date()

    def has_room(self) -> bool:
        return self._store.has_room()

    def _object(self, file: NewFile) -> NewObject:
        moment = datetime.datetime.fromtimestamp(file.stamp / 1000, datetime.UTC)
        text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return NewObject(self._folder + file.ref.name, file.data, {_TIMESTAMP: text})

    async def probe(self, ref: FileRef) -> tuple[bytes | None, float]:
        data = await self._get(self._folder + ref.name)
        return data, self._store.date()

    async def list(self) -> Listed:
        return Listed(self._refs(await self._keys()), self._store.sure_date())

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
        return Listed(refs, self._store.sure_date())

    async def _keys(self, within: str = "", *, after: str = "") -> Sequence[ObjectInfo]:
        with _as_store_errors():
            return await self._store.list(self._folder + within, after=self._folder + after if after else "")

    def _refs(self, found: Sequence[ObjectInfo]) -> Sequence[FileRef]:
        refs = (
            parse_name(
                item.key.removeprefix(self._folder), item.size, item.modified.timestamp() if item.modified else 0.0
            )
            for item in found
        )
        return [ref for ref in refs if ref is not None]

    async def request(self, node: int) -> None:
        with _as_store_errors(), suppress(PreconditionFailed):
            await self._store.put_bytes(self._request(node), b"", if_none_match=True)

    async def take_request(self, node: int) -> bool:
        if await self._get(self._request(node)) is None:
            return False
        with _as_store_errors():
            await self._store.delete(self._request(node))
        return True

    def _request(self, node: int) -> str:
        # No name of Litestream's: its restore passes over it.
        return f"{self._folder}wanted/{node:016x}"

    async def legacy(self) -> bytes | None:
        return await self._get(self._legacy)

    async def delete(self, refs: Sequence[FileRef]) -> None:
        with _as_store_errors():
            for ref in refs:
                await self._store.delete(self._folder + ref.name)

    async def _get(self, key: str) -> bytes | None:
        with _as_store_errors():
            try:
                return (await self._store.get_bytes(key)).data
            except ObjectMissing:
                return None
