"""The interface of an object store, implemented for R2 and for local files.

Keys are full keys, made by `app.storage.keys`. Three errors are always kept apart: a missing object, a failed
condition, and a store that did not answer or whose answer was not understood.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

READS_AT_ONCE: Final = 16
"""Objects of one profile that are read side by side while few others are; a store lets more of them wait."""


class StorageError(Exception):
    """Base of all errors of a store."""


class ObjectMissing(StorageError):
    """The store answered, and there is no such object (or no such upload)."""


class PreconditionFailed(StorageError):
    """The object is not what `if_match` or `if_none_match` wanted; nothing was written by this call."""


class InvalidRequest(StorageError):
    """The store refused the request: wrong parts, or a range past the end. A retry is useless."""


class StorageUnavailable(StorageError):
    """Any other failure: the store was unreachable, too slow, refused access or gave an unknown answer. A write may or
    may not have happened."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object without its content; `etag` as the store gives it, quotes included."""

    key: str
    size: int
    etag: str
    content_type: str | None
    modified: datetime | None


@dataclass(frozen=True)
class ObjectBytes:
    """An object's content and the ETag of exactly that content."""

    data: bytes
    etag: str


@dataclass(frozen=True)
class UploadedPart:
    """A part of a multipart upload, as reported by the client; numbers begin at 1."""

    number: int
    etag: str


@dataclass(frozen=True)
class PresignedPut:
    """A URL, and the headers that its signature covers: the client must send exactly these."""

    url: str
    headers: Mapping[str, str]


class ObjectStore(Protocol):
    """All methods may raise `StorageUnavailable`; further errors are named at each method."""

    async def head(self, key: str) -> ObjectInfo:
        """Raises `ObjectMissing`."""
        ...

    async def get_bytes(self, key: str) -> ObjectBytes:
        """Raises `ObjectMissing`. The content is held in memory; a large one may take as long as `download`."""
        ...

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes from offset `start`. Raises `ObjectMissing`, `InvalidRequest` past the end."""
        ...

    async def download(self, key: str, path: Path) -> ObjectInfo:
        """Streams to `path`, which appears only when complete. Raises `ObjectMissing`."""
        ...

    async def upload(self, path: Path, key: str, content_type: str) -> str:
        """Streams a file, in parts where it is large; the new ETag. The object appears only when complete."""
        ...

    async def put_bytes(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """The new ETag; `metadata` is kept with the object. Large `data` may take as long as `upload`.

        With a condition raises `PreconditionFailed`, also where `if_match` meets no object.
        """
        ...

    async def delete(self, key: str) -> None:
        """Deleting what is missing is no error."""
        ...

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Deleting what is missing is no error."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Deletes every object below a prefix that ends in `/`; how many there were."""
        ...

    async def list(self, prefix: str, *, limit: int | None = None, after: str = "") -> Sequence[ObjectInfo]:
        """Objects below a prefix whose key comes after `after`, in the order of their keys; `content_type` is None
        here."""
        ...

    async def list_folders(self, prefix: str) -> Sequence[str]:
        """Names of the next level below a prefix that ends in `/`, without slashes, sorted."""
        ...

    async def presign_get(self, key: str, *, filename: str | None = None) -> str:
        """A URL that reads the object; with `filename` a browser saves it under that name."""
        ...

    async def presign_put(self, key: str, content_type: str, size: int) -> PresignedPut:
        """A URL that creates the object, of this type and of `size` bytes, and never replaces one: after the first
        upload it is dead for as long as the object is there."""
        ...

    async def create_multipart(self, key: str, content_type: str) -> str:
        """The id of a new multipart upload."""
        ...

    async def presign_parts(self, key: str, upload_id: str, sizes: Sequence[int]) -> Sequence[str]:
        """URLs that upload the parts 1, 2, … of these sizes in bytes; all are signed in one go."""
        ...

    async def complete_multipart(self, key: str, upload_id: str, parts: Sequence[UploadedPart]) -> str:
        """The new ETag. Raises `ObjectMissing` for an unknown upload, `InvalidRequest` for parts that do not fit."""
        ...

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        """Aborting an unknown upload is no error."""
        ...

    def date(self) -> float:
        """The store's own clock at its newest answer, in unix seconds: a Machine's may be wrong after a suspend.

        One answer may have a wrong date: then this is later than the true one until the next answer.
        """
        ...

    def sure_date(self) -> float:
        """The newest date that a second answer has confirmed, 0 before: never later than the true one."""
        ...

    async def probe(self) -> None:
        """Returns when the bucket answers."""
        ...

    async def close(self) -> None:
        """Frees connections and threads."""
        ...
