"""What the store relies on in moto's models, which are private: a new moto that changes it fails here."""

from __future__ import annotations

import gc
import time
import weakref
from typing import Any

from moto.s3.models import FakeAcl, FakeKey
from tests.parity.r2.conftest import BUCKET

from parity.r2.content import Content
from parity.r2.store.interface import Attributes, ObjectInfo
from parity.r2.store.moto import MotoStore
from parity.r2.store.moto_models import StoredBucket, StoredKey, StoredUpload, make_key


def _info(key: str, size: int = 5) -> ObjectInfo:
    return ObjectInfo(key, size, "e" * 32, 1_700_000_000.5, Attributes({"content-type": "a/b", "x-amz-meta-m": "1"}))


def _store(*keys: str) -> MotoStore:
    store = MotoStore()
    store.create_bucket_now(BUCKET, time.time())
    for key in keys:
        store.put_now(BUCKET, _info(key), Content.of(b"12345"))
    return store


def test_motos_own_reading_sees_our_bytes_and_metadata() -> None:
    key = make_key(BUCKET, _info("k"), Content.of(b"12345"))
    assert isinstance(key, FakeKey)
    assert (key.value, key.size, key.etag) == (b"12345", 5, f'"{"e" * 32}"')
    assert (key.metadata["Content-Type"], key.metadata["x-amz-meta-m"]) == ("a/b", "1")
    assert key.last_modified_ISO8601.startswith("2023-11-14T22:13:20")


def test_motos_own_listing_sees_our_keys() -> None:
    store = _store("a", "b/1", "b/2")
    found, _, _ = store._backend.list_objects_v2(store.bucket(BUCKET), None, "/", None, None, 10)
    assert [getattr(key, "name", key) for key in found] == ["a", "b/"]


def test_nothing_that_was_replaced_or_deleted_is_kept() -> None:
    store = _store("k", "gone")
    contents = [weakref.ref(store.get_now(BUCKET, key)[1]) for key in ("k", "gone")]
    store.put_now(BUCKET, _info("k"), Content.of(b"54321"))
    store.delete_now(BUCKET, "gone")
    gc.collect()
    assert [content() for content in contents] == [None, None]


def test_moto_does_not_track_instances_for_ever() -> None:
    _store(*map(str, range(50)))
    models: list[Any] = [StoredKey, StoredUpload, StoredBucket, FakeAcl]
    assert [list(model.instances_tracked) for model in models] == [[], [], [], []]


async def test_a_completed_upload_keeps_its_bytes_and_an_aborted_one_does_not() -> None:
    store = _store()
    for key, keep in (("kept", True), ("dropped", False)):
        upload = await store.create_upload(BUCKET, key, Attributes())
        content = Content.of(key.encode())
        part = await store.put_part(BUCKET, key, upload, 1, content, "d" * 32, None)
        seen = weakref.ref(content)
        del content
        if keep:
            await store.complete(BUCKET, key, upload, [part], "d" * 32 + "-1", None, lambda _: None)
            assert store.get_now(BUCKET, key)[1].read() == b"kept"
        else:
            await store.abort(BUCKET, key, upload)
            gc.collect()
            assert seen() is None
    assert await store.uploads(BUCKET) == []
