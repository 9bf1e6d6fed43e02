"""A replica in the object store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from app import timestamps
from app.replication.errors import FileExists, GapError, StoreError
from app.replication.layout import FileRef, highest, parse_name, restore_plan
from app.replication.store import Listed, NewFile
from app.storage.interface import ObjectBytes, ObjectInfo, ObjectMissing, ObjectStore, PreconditionFailed, StorageError
from app.storage.keys import ProfileKeys

# Litestream's restore reads a file's time from here, else from the object's own.
_TIMESTAMP = "litestream-timestamp"
# Litestream's restore passes over this name. It sorts behind all files, so the list of merged files has it too.
_TAKEN_OVER = "taken-over/"


@contextmanager
def as_store_errors() -> Iterator[None]:
    """Translate the object store's errors into those of replication."""
    try:
        yield
    except PreconditionFailed as error:
        raise FileExists(str(error)) from error
    except StorageError as error:
        raise StoreError(str(error)) from error


class ObjectReplica:
    """See `app.replication.store.ReplicaStore`. Deadlines and retries are the object store's."""

    def __init__(self, store: ObjectStore, keys: ProfileKeys) -> None:
        self._store = store
        self._folder = keys.database_folder
        self._legacy = keys.database

    async def create(self, file: NewFile) -> float:
        metadata = {_TIMESTAMP: timestamps.text(file.stamp / 1000)}
        with as_store_errors():
            await self._store.put_bytes(self._folder + file.ref.name, file.data, if_none_match=True, metadata=metadata)
        return self._store.date()

    async def probe(self, ref: FileRef) -> tuple[bytes | None, float]:
        found = await self._get(self._folder + ref.name)
        return None if found is None else found.data, self._store.date()

    async def list(self) -> Listed:
        return self._listed(await self._keys())

    async def recent(self, early: Callable[[Sequence[FileRef]], None] | None = None) -> Listed:
        # Level 0 comes first in the order of keys and is nearly all of a long log; what lies above says where its
        # newest part begins.
        found = await self._keys(after="0000/~")
        merged = self._refs(found)
        if early is not None:
            early(merged)
        newest = await self._keys("0000/", after=f"0000/{highest(merged):016x}~")
        listed = self._listed([*newest, *found])
        try:
            restore_plan(listed.files)
        except GapError:
            return await self.list()
        return listed

    async def _keys(self, within: str = "", *, after: str = "") -> Sequence[ObjectInfo]:
        with as_store_errors():
            return await self._store.list(self._folder + within, after=self._folder + after if after else "")

    def _listed(self, found: Sequence[ObjectInfo]) -> Listed:
        names = (item.key.removeprefix(self._folder) for item in found)
        taken_over = frozenset(name.removeprefix(_TAKEN_OVER) for name in names if name.startswith(_TAKEN_OVER))
        return Listed(self._refs(found), self._store.sure_date(), taken_over)

    def _refs(self, found: Sequence[ObjectInfo]) -> Sequence[FileRef]:
        dated = ((item, item.modified.timestamp() if item.modified else 0.0) for item in found)
        named = (parse_name(item.key.removeprefix(self._folder), item.size, modified) for item, modified in dated)
        return [ref for ref in named if ref is not None]

    async def legacy(self) -> tuple[bytes, str] | None:
        found = await self._get(self._legacy)
        return None if found is None else (found.data, found.etag.strip('"'))

    async def legacy_etag(self) -> str | None:
        with as_store_errors():
            try:
                return (await self._store.head(self._legacy)).etag.strip('"')
            except ObjectMissing:
                return None

    async def note_taken_over(self, etag: str) -> None:
        with suppress(FileExists), as_store_errors():
            await self._store.put_bytes(f"{self._folder}{_TAKEN_OVER}{etag}", b"", if_none_match=True)

    async def delete(self, refs: Sequence[FileRef]) -> None:
        with as_store_errors():
            for ref in refs:
                await self._store.delete(self._folder + ref.name)

    async def _get(self, key: str) -> ObjectBytes | None:
        with as_store_errors():
            try:
                return await self._store.get_bytes(key)
            except ObjectMissing:
                return None
