"""Bucket locks: what they hold back, what they let through, and which rules R2 takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from tests.parity.r2.conftest import BUCKET, SETTINGS
from tests.parity.r2.lab import Answer, Lab, lab

from parity.r2 import locks
from parity.r2.locks import LockError
from parity.r2.store.interface import Attributes, ObjectInfo

FOR_EVER = {"id": "all", "prefix": "locked/", "enabled": True, "condition": {"type": "Indefinite"}}
KEY = f"/{BUCKET}/locked/k"


@pytest.fixture
async def ask() -> AsyncIterator[Lab]:
    async with lab(SETTINGS) as found:
        yield found


def _lock(ask: Lab, *rules: object) -> None:
    ask.front.configured.locks[BUCKET] = locks.from_json({"rules": list(rules)})


async def _complete(ask: Lab) -> Answer:
    upload = (await ask("POST", KEY, query="uploads=")).xml.findtext("{*}UploadId") or ""
    part = await ask("PUT", KEY, query=f"partNumber=1&uploadId={upload}", body=b"new")
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{part.etag}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    return await ask("POST", KEY, query=f"uploadId={upload}", body=body)


async def test_nothing_overwrites_or_deletes_a_locked_object(ask: Lab) -> None:
    await ask("PUT", KEY, body=b"old")
    await ask("PUT", f"/{BUCKET}/source", body=b"new")
    _lock(ask, FOR_EVER)
    refused = [
        await ask("PUT", KEY, body=b"new"),
        await ask("PUT", KEY, headers={"x-amz-copy-source": f"/{BUCKET}/source"}),
        await _complete(ask),
        await ask("DELETE", KEY),
    ]
    assert {(answer.status, answer.code) for answer in refused} == {(403, "ObjectLockedByBucketPolicy")}
    body = b"<Delete><Object><Key>locked/k</Key></Object><Object><Key>source</Key></Object></Delete>"
    deleted = await ask("POST", f"/{BUCKET}", query="delete=", body=body)
    assert deleted.xml.findtext("{*}Error/{*}Code") == "ObjectLockedByBucketPolicy"
    assert deleted.xml.findtext("{*}Deleted/{*}Key") == "source"
    assert (await ask("GET", KEY)).body == b"old"


async def test_new_keys_and_other_prefixes_are_free(ask: Lab) -> None:
    _lock(ask, FOR_EVER, {**FOR_EVER, "id": "off", "prefix": "", "enabled": False})
    assert (await ask("PUT", KEY, body=b"first")).status == 200
    assert [
        (await ask(method, body=body)).status for method, body in (("PUT", b"1"), ("PUT", b"2"), ("DELETE", b""))
    ] == [
        200,
        200,
        204,
    ]


async def test_a_lock_that_comes_during_an_upload_holds(ask: Lab) -> None:
    await ask("PUT", KEY, body=b"old")
    writing = asyncio.ensure_future(ask("PUT", KEY, body=b"n" * (4 << 20)))
    await asyncio.sleep(0)
    _lock(ask, FOR_EVER)
    assert (await writing).status == 403
    assert (await ask("GET", KEY)).body == b"old"


def test_the_longest_lock_counts() -> None:
    found = locks.from_json(
        {
            "rules": [
                {"id": "a", "condition": {"type": "Age", "maxAgeSeconds": 100}},
                {"id": "b", "prefix": "k", "condition": {"type": "Age", "maxAgeSeconds": 500}},
                {"id": "c", "prefix": "other", "condition": {"type": "Indefinite"}},
                {"id": "d", "condition": {"type": "Date", "date": "2020-01-01T00:00:00Z"}},
            ]
        }
    )
    uploaded = time.time()
    assert locks.locked_until(found, ObjectInfo("k", 1, "e", uploaded, Attributes())) == uploaded + 500
    assert locks.from_json(locks.to_json(found)) == found


@pytest.mark.parametrize(
    "rules",
    [
        {"rules": "all"},
        {"rules": [{"id": "a"}]},
        {"rules": [{"id": "a", "condition": {"type": "Never"}}]},
        {"rules": [{"id": "a", "condition": {"type": "Age", "maxAgeSeconds": 0}}]},
        {"rules": [{"id": "a", "condition": {"type": "Date", "date": "tomorrow"}}]},
        {"rules": [{"id": "a", "colour": "red", "condition": {"type": "Indefinite"}}]},
        {"rules": [FOR_EVER] * 1001},
    ],
)
def test_rules_that_r2_does_not_take_are_refused_with_the_reason(rules: object) -> None:
    with pytest.raises(LockError, match=r"expected|rule 1"):
        locks.from_json(rules)
