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
"""How many objects of one profile are read concurrently, if there are few other reads; further reads wait."""


class StorageError(Exception):
    """Base of all errors of a store."""


class ObjectMissing(StorageError):
    """The store answered that the object or upload does not exist."""


class PreconditionFailed(StorageError):
    """The condition `if_match` or `if_none_match` failed; this call wrote nothing."""


class InvalidRequest(StorageError):
    """The store refused the request (wrong parts, or a range past the end). Do not retry."""


class StorageUnavailable(StorageError):
    """Any other failure: the store is unreachable, too slow, denies access or gives an unknown answer. A write may have
    taken effect."""


@dataclass(frozen=True)
class ObjectInfo:
    """An object without its content. `etag` includes the quotes."""

    key: str
    size: int
    etag: str
    content_type: str | None
    modified: datetime | None


@dataclass(frozen=True)
class ObjectBytes:
    """An object's content, and the ETag of that content."""

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
        """The whole content, in memory. A large object has the deadline of `download`. Raises `ObjectMissing`."""
        ...

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes from offset `start`. Raises `ObjectMissing`, `InvalidRequest` past the end."""
        ...

    async def download(self, key: str, path: Path) -> ObjectInfo:
        """Stream the content to `path`, which is created atomically. Raises `ObjectMissing`.

        Once this has ended, also by a cancellation, nothing more is written."""
        ...

    async def upload(self, path: Path, key: str, content_type: str) -> str:
        """Stream a file, a large one in parts, and return the new ETag. The object is created atomically.

        Once this has ended, also by a cancellation, it is not created any more."""
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
        """Store `data` with `metadata`, and return the new ETag. Large `data` has the deadline of `upload`.

        A condition may raise `PreconditionFailed`; `if_match` does so if there is no object, too.
        """
        ...

    async def delete(self, key: str) -> None:
        """Deleting what is missing is no error."""
        ...

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Deleting what is missing is no error."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every object below a prefix that ends in `/`; returns their number."""
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
        """A URL that creates the object with this type and `size` in bytes. It cannot replace an object, so after the
        first upload it has no effect while the object exists."""
        ...

    async def create_multipart(self, key: str, content_type: str) -> str:
        """The id of a new multipart upload."""
        ...

    async def presign_parts(self, key: str, upload_id: str, sizes: Sequence[int]) -> Sequence[str]:
        """URLs that upload the parts 1, 2, … of these sizes in bytes."""
        ...

    async def complete_multipart(self, key: str, upload_id: str, parts: Sequence[UploadedPart]) -> str:
        """Complete the upload and return the new ETag. Raises `ObjectMissing` for an unknown upload, and
        `InvalidRequest` for wrong parts."""
        ...

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        """Aborting an unknown upload is no error."""
        ...

    def date(self) -> float:
        """The store's date in its newest answer, in unix seconds. A Machine's own clock may be wrong after a suspend.

        If that answer had a wrong date, this is later than the true time until the next answer.
        """
        ...

    def sure_date(self) -> float:
        """The newest date that a second answer has confirmed; 0 before. It is never later than the true time."""
        ...

    async def probe(self) -> None:
        """Send one request to the bucket. Raises `StorageUnavailable` if it does not answer."""
        ...

    async def close(self) -> None:
        """Frees connections and threads."""
        ...
