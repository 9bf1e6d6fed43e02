"""An object store in memory that keeps the interface's promises, and breaks them on request."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from app.storage.interface import (
    InvalidRequest,
    ObjectBytes,
    ObjectInfo,
    ObjectMissing,
    PreconditionFailed,
    PresignedPut,
    StorageError,
    UploadedPart,
)


@dataclass
class Fault:
    """Makes calls of `operation` on keys that contain `key` fail with `error`, `times` times.

    With `after` the call does its work first: the answer is lost, the effect is not.
    """

    operation: str
    error: StorageError
    key: str = ""
    times: int = 1_000_000
    after: bool = False


@dataclass
class FakeStore:
    """`objects` is the bucket; several users of one FakeStore are several Machines on one bucket."""

    objects: dict[str, tuple[bytes, str, str]] = field(default_factory=dict)
    """Key to content, ETag, content type."""
    faults: list[Fault] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """Operations that wait for an event before they begin."""
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    clock: float = 1_800_000_000.0
    """What the store's clock shows, in unix seconds."""
    wrong: float = 0.0
    """By how many seconds the newest answer's date is ahead of it."""
    written: dict[str, float] = field(default_factory=dict)
    """When each object was written, by the store's clock; an object that a test put there was written just now."""
    _count: int = 0

    def _modified(self, key: str) -> datetime:
        return datetime.fromtimestamp(self.written.get(key, self.clock), UTC)

    def keys(self) -> list[str]:
        return sorted(self.objects)

    def count(self, operation: str, key: str = "") -> int:
        return sum(1 for done, of in self.calls if done == operation and key in of)

    async def called(self, operation: str, key: str = "", *, times: int = 1) -> None:
        """Returns when there were that many such calls; TimeoutError after a minute."""
        async with asyncio.timeout(60):
            while self.count(operation, key) < times:  # noqa: ASYNC110 - the calls come from the code under test
                await asyncio.sleep(0.001)

    async def _enter(self, operation: str, key: str) -> Fault | None:
        self.calls.append((operation, key))
        if operation in self.gates:
            await self.gates[operation].wait()
        await asyncio.sleep(0)
        for fault in self.faults:
            if fault.operation == operation and fault.key in key and fault.times > 0:
                fault.times -= 1
                if fault.after:
                    return fault
                raise fault.error
        return None

    def _get(self, key: str) -> tuple[bytes, str, str]:
        if key not in self.objects:
            raise ObjectMissing(key)
        return self.objects[key]

    def _put(self, key: str, data: bytes, content_type: str) -> str:
        self._count += 1
        etag = f'"{hashlib.md5(data).hexdigest()}-{self._count}"'
        self.objects[key] = (data, etag, content_type)
        self.written[key] = self.clock
        return etag

    async def head(self, key: str) -> ObjectInfo:
        await self._enter("head", key)
        data, etag, content_type = self._get(key)
        return ObjectInfo(key, len(data), etag, content_type, self._modified(key))

    async def get_bytes(self, key: str) -> ObjectBytes:
        await self._enter("get", key)
        data, etag, _ = self._get(key)
        return ObjectBytes(data, etag)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        await self._enter("get", key)
        data = self._get(key)[0]
        if start >= len(data):
            raise InvalidRequest(key)
        return data[start : start + length]

    async def download(self, key: str, path: Path) -> ObjectInfo:
        await self._enter("get", key)
        data, etag, content_type = self._get(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return ObjectInfo(key, len(data), etag, content_type, self._modified(key))

    async def upload(self, path: Path, key: str, content_type: str) -> str:
        await self._enter("upload", key)
        return self._put(key, path.read_bytes(), content_type)

    async def put_bytes(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        lost = await self._enter("put", key)
        found = self.objects.get(key)
        if (if_none_match and found) or (if_match is not None and (found is None or found[1] != if_match)):
            raise PreconditionFailed(key)
        etag = self._put(key, data, "application/octet-stream")
        if lost is not None:
            raise lost.error
        return etag

    async def delete(self, key: str) -> None:
        await self._enter("delete", key)
        self.objects.pop(key, None)

    async def delete_many(self, keys: Sequence[str]) -> None:
        await self._enter("delete_many", " ".join(keys))
        for key in keys:
            self.objects.pop(key, None)

    async def delete_prefix(self, prefix: str) -> int:
        await self._enter("delete_prefix", prefix)
        assert prefix.endswith("/")
        found = [key for key in self.objects if key.startswith(prefix)]
        for key in found:
            del self.objects[key]
        return len(found)

    async def list(self, prefix: str, *, limit: int | None = None, after: str = "") -> Sequence[ObjectInfo]:
        await self._enter("list", prefix)
        found = sorted(key for key in self.objects if key.startswith(prefix) and key > after)[:limit]
        return [
            ObjectInfo(key, len(self.objects[key][0]), self.objects[key][1], None, self._modified(key)) for key in found
        ]

    async def list_folders(self, prefix: str) -> Sequence[str]:
        await self._enter("list", prefix)
        rests = [key.removeprefix(prefix) for key in self.objects if key.startswith(prefix)]
        return sorted({rest.split("/")[0] for rest in rests if "/" in rest})

    async def presign_get(self, key: str, *, filename: str | None = None) -> str:
        return f"https://store.test/{key}" + (f"?filename={filename}" if filename else "")

    async def presign_put(self, key: str, content_type: str, size: int) -> PresignedPut:
        return PresignedPut(f"https://store.test/{key}?size={size}", {"Content-Type": content_type})

    async def create_multipart(self, key: str, content_type: str) -> str:
        await self._enter("create_multipart", key)
        self.uploads[f"upload-{len(self.uploads)}"] = {}
        return f"upload-{len(self.uploads) - 1}"

    async def presign_parts(self, key: str, upload_id: str, sizes: Sequence[int]) -> Sequence[str]:
        return [f"https://store.test/{key}?upload={upload_id}&part={number}" for number in range(1, len(sizes) + 1)]

    async def complete_multipart(self, key: str, upload_id: str, parts: Sequence[UploadedPart]) -> str:
        await self._enter("complete_multipart", key)
        if upload_id not in self.uploads:
            raise ObjectMissing(upload_id)
        uploaded = self.uploads.pop(upload_id)
        if not parts or any(part.number not in uploaded for part in parts):
            raise InvalidRequest("a part was not uploaded")
        return self._put(key, b"".join(uploaded[part.number] for part in parts), "video/mp4")

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        await self._enter("abort_multipart", key)
        self.uploads.pop(upload_id, None)

    def date(self) -> float:
        return self.clock + self.wrong

    def sure_date(self) -> float:
        return self.clock

    async def probe(self) -> None:
        await self._enter("probe", "")

    async def close(self) -> None:
        return None
