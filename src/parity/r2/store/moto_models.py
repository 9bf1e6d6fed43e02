"""moto's models of objects, parts, uploads and buckets, with ``Content`` in place of moto's spooled files."""

from __future__ import annotations

import datetime
from typing import Any

from moto.s3.models import FakeAcl, FakeBucket, FakeGrant, FakeGrantee, FakeKey, FakeMultipart

from parity.r2.content import Content
from parity.r2.store.interface import ObjectInfo, UploadInfo

ACCOUNT, REGION = "123456789012", "us-east-1"


class _Untracked(list[Any]):
    """Switch off moto's registry of model instances, which exists for its own tests and would grow without limit in a
    server."""

    def append(self, _instance: object) -> None:
        return


class _ContentBuffer:
    """Stands for the spooled file of a key; moto only reads it whole."""

    def __init__(self, content: Content) -> None:
        self.content = content

    def seek(self, offset: int) -> int:
        if offset:
            raise ValueError("moto's models are expected to read whole objects only")
        return 0

    def read(self) -> bytes:
        return self.content.read()

    def close(self) -> None:
        """Nothing to close; the content is freed with its last reference."""


class StoredKey(FakeKey):
    """moto's model of an object or a part, with ``Content`` where moto has a spooled file."""

    r2_info: ObjectInfo
    r2_content: Content

    def __del__(self) -> None:
        """Nothing to dispose of: there is no spooled file."""


class StoredUpload(FakeMultipart):
    """moto's model of an upload."""

    parts: dict[int, StoredKey]  # type: ignore[assignment]  # only such keys are put into it
    r2_info: UploadInfo


class StoredBucket(FakeBucket):
    """moto's model of a bucket."""

    multiparts: dict[str, StoredUpload]  # type: ignore[assignment]  # only such uploads are put into it

    def is_created(self) -> bool:
        return True


def _stop_tracking(*models: Any) -> None:
    for model in models:
        model.instances_tracked = _Untracked()


_stop_tracking(StoredKey, StoredUpload, StoredBucket, FakeAcl, FakeGrant, FakeGrantee)


def make_key(bucket: str, info: ObjectInfo, content: Content) -> StoredKey:
    key = StoredKey(
        name=info.key,
        value=b"",
        account_id=ACCOUNT,
        region_name=REGION,
        storage=info.attributes.storage_class,
        etag=info.etag,
        bucket_name=bucket,
    )
    key._value_buffer.close()
    key._value_buffer = _ContentBuffer(content)  # type: ignore[assignment]  # the three methods that moto calls
    key.contentsize = info.size
    key.last_modified = datetime.datetime.fromtimestamp(info.modified, datetime.UTC).replace(tzinfo=None)
    key.set_metadata(dict(info.attributes.headers))
    key.r2_info, key.r2_content = info, content
    return key
