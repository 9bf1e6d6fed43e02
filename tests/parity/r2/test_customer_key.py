"""Encryption with the customer's key (SSE-C): who has not the key gets nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.parity.r2.battery import sse_c
from tests.parity.r2.conftest import BUCKET, SETTINGS
from tests.parity.r2.lab import Answer, Lab, lab

KEY, OTHER = b"k" * 32, b"o" * 32
DIGEST = "x-amz-server-side-encryption-customer-key-md5"
SOURCE = "x-amz-copy-source-"


@pytest.fixture
async def ask() -> AsyncIterator[Lab]:
    async with lab(SETTINGS) as found:
        yield found


async def test_an_object_is_read_with_its_key_only(ask: Lab) -> None:
    put = await ask("PUT", headers=sse_c(KEY), body=b"secret")
    assert put.headers[DIGEST] == sse_c(KEY)[DIGEST]
    found = await ask("GET", headers=sse_c(KEY))
    assert (found.body, found.headers[DIGEST]) == (b"secret", sse_c(KEY)[DIGEST])
    for method in ("GET", "HEAD"):
        refused = [await ask(method), await ask(method, headers=sse_c(OTHER))]
        assert [answer.status for answer in refused] == [400, 403]
        assert all(b"secret" not in answer.body for answer in refused)
    assert (await ask("DELETE")).status == 204


async def test_a_copy_brings_the_key_of_its_source_and_may_have_another(ask: Lab) -> None:
    await ask("PUT", f"/{BUCKET}/source", headers=sse_c(KEY), body=b"secret")
    copy = {"x-amz-copy-source": f"/{BUCKET}/source"}
    assert (await ask("PUT", headers=copy)).status == 400
    assert (await ask("PUT", headers=copy | sse_c(OTHER, SOURCE))).status == 403
    assert (await ask("PUT", headers=copy | sse_c(KEY, SOURCE) | sse_c(OTHER))).status == 200
    assert (await ask("GET", headers=sse_c(OTHER))).body == b"secret"
    assert (await ask("PUT", f"/{BUCKET}/plain", headers=copy | sse_c(KEY, SOURCE))).status == 200
    assert (await ask("GET", f"/{BUCKET}/plain")).body == b"secret"


async def _complete(ask: Lab, upload: str, etags: list[str]) -> Answer:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in enumerate(etags, 1)
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    return await ask("POST", query=f"uploadId={upload}", body=body)


async def test_the_parts_of_an_upload_bring_its_key(ask: Lab) -> None:
    begun = await ask("POST", query="uploads=", headers=sse_c(KEY))
    upload = begun.xml.findtext("{*}UploadId") or ""
    query = f"partNumber=1&uploadId={upload}"
    assert (await ask("PUT", query=query, body=b"secret")).status == 400
    assert (await ask("PUT", query=query, headers=sse_c(OTHER), body=b"secret")).status == 403
    part = await ask("PUT", query=query, headers=sse_c(KEY), body=b"secret")
    assert (await _complete(ask, upload, [part.etag])).status == 200
    assert (await ask("GET")).status == 400
    assert (await ask("GET", headers=sse_c(KEY))).body == b"secret"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x-amz-server-side-encryption-customer-key": "c2hvcnQ="}, "The secret key was invalid"),
        ({"x-amz-server-side-encryption-customer-key": "***"}, "The secret key was invalid"),
        ({DIGEST: sse_c(OTHER)[DIGEST]}, "The calculated MD5 hash of the key did not match"),
    ],
)
async def test_a_key_that_is_none_is_refused(ask: Lab, changed: dict[str, str], message: str) -> None:
    answer = await ask("PUT", headers=sse_c(KEY) | changed, body=b"x")
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert answer.message.startswith(message)
    assert (await ask("GET")).status == 404
