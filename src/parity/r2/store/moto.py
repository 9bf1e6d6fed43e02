"""moto's S3 models in this process, called directly: the default store.

The models are private interfaces of moto, so moto is pinned, and ``tests/parity/r2/test_store_moto.py`` fails when they
change. Bodies are ``Content`` instead of moto's spooled files, because moto needs 4.7 GB to join a gigabyte and its
overwrite closes the buffer that readers are using.
"""

from __future__ import annotations

import datetime
import secrets
import threading
import time
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from moto.s3.models import S3Backend
from requests.structures import CaseInsensitiveDict

from parity.r2.content import Content
from parity.r2.errors import bucket_exists, bucket_not_empty, no_such_bucket, no_such_key, no_such_upload
from parity.r2.store import pages
from parity.r2.store.interface import (
    Attributes,
    BucketInfo,
    Change,
    Check,
    Checksum,
    ObjectInfo,
    Page,
    PartInfo,
    Read,
    UploadInfo,
    no_check,
)
from parity.r2.store.moto_models import ACCOUNT, REGION, StoredBucket, StoredKey, StoredUpload, make_key

_STRIPES = 256


class MotoStore:
    """Thread-safe: the methods that end in ``_now`` may be called from any thread."""

    name = "moto"

    def __init__(self) -> None:
        self._backend = S3Backend(REGION, ACCOUNT)
        self._locks = [threading.RLock() for _ in range(_STRIPES)]
        # Guards the data that keys share: the key set of a bucket, its order, its uploads.
        self._index_lock = threading.RLock()
        # The sorted keys of each bucket that was listed. They are kept sorted, so that a list costs only what it
        # returns.
        self._orders: dict[str, list[str]] = {}
        self.changes = 0

    async def start(self) -> None:
        """Nothing to do; ``persist`` loads saved state."""

    async def close(self) -> None:
        await self.reset()

    async def reset(self) -> None:
        """Remove every object, upload and bucket."""
        with self._index_lock:
            for bucket in self._backend.buckets.values():
                for model in (*bucket.keys.values(), *bucket.multiparts.values()):
                    _dispose(model)
                bucket.keys.clear()
                bucket.multiparts.clear()
            self._backend.buckets.clear()
            self._orders.clear()
            self.changes += 1

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Block writes, so that a save sees one consistent state."""
        with self._index_lock:
            yield

    def models(self) -> list[StoredBucket]:
        return [self.bucket(name) for name in self._backend.buckets]

    # Buckets

    def bucket(self, name: str) -> StoredBucket:
        found = self._backend.buckets.get(name)
        if not isinstance(found, StoredBucket):
            raise no_such_bucket()
        return found

    async def buckets(self) -> list[BucketInfo]:
        found = self._backend.list_buckets(None, None, None)
        return [BucketInfo(bucket.name, bucket.creation_date.timestamp()) for bucket in found]

    async def create_bucket(self, bucket: str) -> None:
        self.create_bucket_now(bucket, time.time())

    def create_bucket_now(self, bucket: str, created: float) -> None:
        with self._index_lock:
            if bucket in self._backend.buckets:
                raise bucket_exists()
            model = StoredBucket(bucket, ACCOUNT, REGION)
            model.creation_date = datetime.datetime.fromtimestamp(created, datetime.UTC)
            self._backend.buckets[bucket] = model
            self.changes += 1

    async def delete_bucket(self, bucket: str) -> None:
        with self._index_lock:
            if self.bucket(bucket).keys:
                raise bucket_not_empty()
            self._backend.delete_bucket(bucket)
            self._orders.pop(bucket, None)
            self.changes += 1

    async def has_bucket(self, bucket: str) -> bool:
        return bucket in self._backend.buckets

    # Objects

    def _lock(self, bucket: str, key: str) -> threading.RLock:
        return self._locks[hash((bucket, key)) % _STRIPES]

    def _find(self, bucket: str, key: str) -> StoredKey | None:
        found: StoredKey | None = self.bucket(bucket).keys.get(key)
        return found

    def get_now(self, bucket: str, key: str) -> tuple[ObjectInfo, Content]:
        """The object and its bytes, of the same version."""
        found = self._find(bucket, key)
        if found is None:
            raise no_such_key()
        return found.r2_info, found.r2_content

    def put_now(self, bucket: str, info: ObjectInfo, content: Content, check: Check = no_check) -> ObjectInfo:
        """Check and write under the key's lock."""
        with self._lock(bucket, info.key):
            model = self.bucket(bucket)
            found: StoredKey | None = model.keys.get(info.key)
            check(None if found is None else found.r2_info)
            key = make_key(bucket, info, content)
            with self._index_lock:
                model.keys.setlist(info.key, [key])
                if found is None and (order := self._orders.get(bucket)) is not None:
                    insort(order, info.key)
                self.changes += 1
        return info

    def delete_now(self, bucket: str, key: str, check: Check = no_check) -> None:
        with self._lock(bucket, key):
            model = self.bucket(bucket)
            found: StoredKey | None = model.keys.get(key)
            check(None if found is None else found.r2_info)
            if found is None:
                return
            with self._index_lock:
                model.keys.pop(key)
                if (order := self._orders.get(bucket)) is not None:
                    del order[bisect_left(order, key)]
                self.changes += 1

    async def head(self, bucket: str, key: str) -> ObjectInfo:
        return self.get_now(bucket, key)[0]

    async def open(self, bucket: str, key: str, _wanted: str | None = None) -> tuple[ObjectInfo, Read]:
        info, content = self.get_now(bucket, key)
        return info, content.stream

    async def put(
        self, bucket: str, key: str, content: Content, etag: str, attributes: Attributes, check: Check
    ) -> ObjectInfo:
        return self.put_now(bucket, ObjectInfo(key, content.size, etag, time.time(), attributes), content, check)

    async def copy(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        change: Change,
        check_source: Check,
        check: Check,
    ) -> ObjectInfo:
        found, content = self.get_now(*source)
        check_source(found)
        info = ObjectInfo(target[1], found.size, found.etag, time.time(), change(found.attributes))
        return self.put_now(target[0], info, content, check)

    async def delete(self, bucket: str, key: str, check: Check = no_check) -> None:
        self.delete_now(bucket, key, check)

    async def reclassify(self, bucket: str, key: str, storage_class: str, check: Check) -> None:
        """Change the storage class and nothing else, not even the date."""
        with self._lock(bucket, key):
            info, content = self.get_now(bucket, key)
            changed = replace(info, attributes=replace(info.attributes, storage_class=storage_class))
            self.put_now(bucket, changed, content, check)

    async def list_page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        with self._index_lock:
            model = self.bucket(bucket)
            order = self._orders.get(bucket)
            if order is None:
                order = self._orders[bucket] = sorted(model.keys)
            return pages.page(order, lambda key: model.keys[key].r2_info, prefix, delimiter, after, limit)

    # Uploads

    def _upload(self, bucket: str, key: str, upload: str) -> StoredUpload:
        found: StoredUpload | None = self.bucket(bucket).multiparts.get(upload)
        if found is None or found.key_name != key:
            raise no_such_upload()
        return found

    async def create_upload(self, bucket: str, key: str, attributes: Attributes) -> str:
        return self.create_upload_now(bucket, UploadInfo(secrets.token_urlsafe(48), key, time.time(), attributes))

    def create_upload_now(self, bucket: str, info: UploadInfo) -> str:
        with self._index_lock:
            model = self.bucket(bucket)
            upload = StoredUpload(info.key, CaseInsensitiveDict(info.attributes.headers), ACCOUNT, REGION)
            upload.id = info.id
            upload.r2_info = info
            model.multiparts[info.id] = upload
            self.changes += 1
        return info.id

    async def put_part(
        self, bucket: str, key: str, upload: str, number: int, content: Content, etag: str, checksum: Checksum | None
    ) -> PartInfo:
        info = ObjectInfo(str(number), content.size, etag, time.time(), Attributes(checksum=checksum))
        self.put_part_now(bucket, key, upload, info, content)
        return _part(number, info)

    async def upload(self, bucket: str, key: str, upload: str) -> Attributes:
        with self._index_lock:
            return self._upload(bucket, key, upload).r2_info.attributes

    def put_part_now(self, bucket: str, key: str, upload: str, info: ObjectInfo, content: Content) -> None:
        with self._index_lock:
            found = self._upload(bucket, key, upload)
            part = make_key(bucket, info, content)
            replaced = found.parts.get(int(info.key))
            found.parts[int(info.key)] = part
            if replaced is not None:
                replaced.dispose()
            self.changes += 1

    async def parts(self, bucket: str, key: str, upload: str) -> list[PartInfo]:
        with self._index_lock:
            return _parts_of(self._upload(bucket, key, upload))

    async def complete(
        self,
        bucket: str,
        key: str,
        upload: str,
        parts: Sequence[PartInfo],
        etag: str,
        checksum: Checksum | None,
        check: Check,
    ) -> ObjectInfo:
        with self._lock(bucket, key):
            with self._index_lock:
                found = self._upload(bucket, key, upload)
                if any(_etag_of(found, part.number) != part.etag for part in parts):
                    raise no_such_upload()
                content = Content.join(found.parts[part.number].r2_content for part in parts)
            sizes = tuple(part.size for part in parts)
            attributes = replace(found.r2_info.attributes, checksum=checksum)
            info = ObjectInfo(key, content.size, etag, time.time(), attributes, sizes)
            self.put_now(bucket, info, content, check)
            with self._index_lock:
                self._drop_upload(bucket, upload)
        return info

    async def abort(self, bucket: str, key: str, upload: str) -> None:
        with self._index_lock:
            self._upload(bucket, key, upload)
            self._drop_upload(bucket, upload)

    def _drop_upload(self, bucket: str, upload: str) -> None:
        # moto's dictionary disposes of the parts; their bytes now belong to the completed object.
        del self.bucket(bucket).multiparts[upload]
        self.changes += 1

    async def uploads(self, bucket: str) -> list[UploadInfo]:
        with self._index_lock:
            found = [upload.r2_info for upload in self.bucket(bucket).multiparts.values()]
        return sorted(found, key=lambda info: (info.key, info.initiated))


def _etag_of(upload: StoredUpload, number: int) -> str | None:
    part = upload.parts.get(number)
    return None if part is None else part.r2_info.etag


def _parts_of(upload: StoredUpload) -> list[PartInfo]:
    return [_part(number, part.r2_info) for number, part in sorted(upload.parts.items())]


def _part(number: int, info: ObjectInfo) -> PartInfo:
    checksum = info.attributes.checksum
    return PartInfo(number, info.size, info.etag, info.modified, checksum.value if checksum else "")


def _dispose(model: Any) -> None:
    model.dispose()
