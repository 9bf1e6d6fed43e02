"""The interface between R2's rules and a store.

Every write takes a ``check``. The store calls it with the object that exists now (``None``: no object), and it raises
to refuse the write. Check and write happen under one lock of the key, so exactly one of several racing creators
succeeds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from parity.r2.content import Content


@dataclass(frozen=True, slots=True)
class Checksum:
    """``algorithm`` as in ``x-amz-checksum-…``, ``value`` in base64 (of a COMPOSITE with ``-N``), ``kind`` FULL_OBJECT
    or COMPOSITE. An upload that is not complete has no value yet."""

    algorithm: str
    value: str
    kind: str


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes that the client gave an object: ``headers`` by lower-case name (content-type and similar,
    ``x-amz-meta-…``), and the storage class.

    ``customer_key`` is the MD5, in base64, of the customer's encryption key (SSE-C); the bytes are stored unencrypted.
    ``written_key`` is the key as the client wrote it, where that differs from the stored form (rule 35).
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    storage_class: str = "STANDARD"
    written_key: str = ""
    checksum: Checksum | None = None
    customer_key: str = ""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """``etag`` without quotes, ``modified`` in seconds since the epoch, ``size`` in bytes."""

    key: str
    size: int
    etag: str
    modified: float
    attributes: Attributes
    part_sizes: tuple[int, ...] = ()

    @property
    def shown_key(self) -> str:
        """The key as a list tells it."""
        return self.attributes.written_key or self.key


@dataclass(frozen=True, slots=True)
class PartInfo:
    """``checksum`` in base64, of the upload's algorithm; empty where the part was sent without one."""

    number: int
    size: int
    etag: str
    modified: float
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class UploadInfo:
    id: str
    key: str
    initiated: float
    attributes: Attributes

    @property
    def shown_key(self) -> str:
        """The key as a list tells it."""
        return self.attributes.written_key or self.key


@dataclass(frozen=True, slots=True)
class BucketInfo:
    name: str
    created: float


@dataclass(frozen=True, slots=True)
class Page:
    """``next_after`` is the ``after`` of the following page; empty on the last page."""

    objects: Sequence[ObjectInfo]
    prefixes: Sequence[str]
    next_after: str


Check = Callable[[ObjectInfo | None], None]
Change = Callable[[Attributes], Attributes]
Read = Callable[[int, int], AsyncIterator[bytes]]


def no_check(_found: ObjectInfo | None) -> None:
    """The check of a write without a condition."""


class Store(Protocol):
    """All methods raise ``R2Error``: NoSuchBucket, NoSuchKey, NoSuchUpload, InternalError when an upstream fails."""

    name: str

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def reset(self) -> None: ...

    async def buckets(self) -> list[BucketInfo]: ...
    async def create_bucket(self, bucket: str) -> None: ...
    async def delete_bucket(self, bucket: str) -> None: ...
    async def has_bucket(self, bucket: str) -> bool: ...

    async def head(self, bucket: str, key: str) -> ObjectInfo: ...
    async def open(self, bucket: str, key: str, wanted: str | None = None) -> tuple[ObjectInfo, Read]:
        """The object and its bytes, both of the same version. ``wanted`` is the Range header of the only read that will
        follow."""
        ...

    async def put(
        self, bucket: str, key: str, content: Content, etag: str, attributes: Attributes, check: Check
    ) -> ObjectInfo: ...
    async def copy(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        change: Change,
        check_source: Check,
        check: Check,
    ) -> ObjectInfo:
        """``change`` computes the target's attributes from those of the source, under the lock."""
        ...

    async def delete(self, bucket: str, key: str, check: Check) -> None: ...
    async def reclassify(self, bucket: str, key: str, storage_class: str, check: Check) -> None:
        """Change the storage class of an object."""
        ...

    async def list_page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page: ...

    async def create_upload(self, bucket: str, key: str, attributes: Attributes) -> str: ...
    async def put_part(
        self, bucket: str, key: str, upload: str, number: int, content: Content, etag: str, checksum: Checksum | None
    ) -> PartInfo: ...
    async def upload(self, bucket: str, key: str, upload: str) -> Attributes:
        """The attributes given to CreateMultipartUpload."""
        ...

    async def parts(self, bucket: str, key: str, upload: str) -> list[PartInfo]: ...
    async def complete(
        self,
        bucket: str,
        key: str,
        upload: str,
        parts: Sequence[PartInfo],
        etag: str,
        checksum: Checksum | None,
        check: Check,
    ) -> ObjectInfo: ...
    async def abort(self, bucket: str, key: str, upload: str) -> None: ...
    async def uploads(self, bucket: str) -> list[UploadInfo]: ...
