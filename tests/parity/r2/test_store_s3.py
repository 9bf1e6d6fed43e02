"""An S3 endpoint as the store answers as moto's models in this process do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, SETTINGS
from tests.parity.r2.lab import Call, Lab, ask, lab, signed
from tests.parity.r2.stores import STORES, available
from tests.parity.r2.test_fuzz import EXAMPLES, _fine, _probe, calls

from parity.r2 import encoded_words
from parity.r2.content import Content
from parity.r2.settings import Behaviour, Upstream
from parity.r2.store import s3
from parity.r2.store.interface import Attributes, no_check
from parity.r2.store.s3 import S3Store


@pytest.fixture(scope="module", params=STORES)
def upstream(request: pytest.FixtureRequest) -> Iterator[Upstream | None]:
    with available(request.param) as found:
        yield found


@pytest.fixture
async def target(upstream: Upstream | None) -> AsyncIterator[Lab]:
    async with lab(replace(SETTINGS, upstream=upstream)) as found:
        await found.service.reset()
        yield found


@pytest.mark.parametrize("bucket", ["Bad!Bucket", "UPPER", "a", "-dash", "two..dots", "other", "b" * 300, "käse"])
async def test_a_bucket_that_cannot_be_is_not_there(target: Lab, bucket: str) -> None:
    for method, path in (("GET", "k"), ("PUT", "k"), ("DELETE", "k"), ("GET", ""), ("DELETE", "")):
        answer = await target(method, f"/{bucket}/{path}".removesuffix("/"), token=ADMIN_TOKEN)
        assert (answer.status, answer.code) == (404, "NoSuchBucket"), (method, path)
    assert (await target("HEAD", f"/{bucket}/k")).status == 404
    source = await target("PUT", headers={"x-amz-copy-source": f"{bucket.replace('ä', 'a')}/k"})
    assert (source.status, source.code) == (404, "NoSuchBucket")


HEADERS = {
    "content-type": "video/mp4; x=ü",
    "content-disposition": 'attachment; filename="käse – 100%.mp4"',
    "content-language": "de",
    "cache-control": "no-store",
    "expires": "never",
    "x-amz-meta-who": "Zoë 100%",
}


@pytest.mark.parametrize(
    "headers",
    [
        HEADERS,
        {"content-type": "a/b", "expires": "Tue, 24 Nov 2026 00:00:00 GMT"},
        {"expires": "0", "content-encoding": "gzip"},
        {},
    ],
    ids=["text", "date", "zero", "none"],
)
async def test_headers_are_given_back_as_they_were_put(target: Lab, headers: dict[str, str]) -> None:
    begun = await target("POST", f"/{BUCKET}/parts", query="uploads=", headers=headers)
    upload = begun.xml.findtext("{*}UploadId") or ""
    part = await target("PUT", f"/{BUCKET}/parts", query=f"partNumber=1&uploadId={upload}", body=b"x")
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{part.etag}</ETag></Part>"
    whole = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    await target("POST", f"/{BUCKET}/parts", query=f"uploadId={upload}", body=whole)
    assert (await target("PUT", headers=headers, body=b"x")).status == 200
    await target("PUT", f"/{BUCKET}/copy", headers={"x-amz-copy-source": f"{BUCKET}/k"})
    encoded = {name: encoded_words.encode(value) for name, value in headers.items() if name.startswith("x-amz-meta-")}
    expected = {"content-type": "application/octet-stream", **headers, **encoded}
    for key in ("k", "copy", "parts"):
        for method in ("GET", "HEAD"):
            found = (await target(method, f"/{BUCKET}/{key}")).headers
            kept = {name: value for name, value in found.items() if name in HEADERS or name.startswith("x-amz-meta-")}
            assert {**kept, "content-encoding": found.get("content-encoding")} == {
                **expected,
                "content-encoding": headers.get("content-encoding"),
            }


@pytest.mark.parametrize("span", ["bytes=2-", "bytes=-2", "bytes=1-2", "bytes=0-99", "bytes=-99"])
async def test_a_range_is_the_same_of_every_store(target: Lab, span: str) -> None:
    body = b"01234"
    first, _, last = span.removeprefix("bytes=").partition("-")
    expected = body[int(first) : int(last or 99) + 1] if first else body[-int(last) :]
    await target("PUT", body=body)
    answer = await target("GET", headers={"range": span})
    start = body.index(expected)
    told = f"bytes {start}-{start + len(expected) - 1}/5"
    assert (answer.status, answer.body, answer.headers["content-range"]) == (206, expected, told)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"range": "bytes=5-"}, 416),
        ({"range": "bytes=-0"}, 416),
        ({"range": "bytes=3-1"}, 400),
        ({"range": "bytes=0-1,3-4"}, 400),
        ({"range": "bytes=5-", "if-none-match": "*"}, 304),
        ({"if-match": '"other"', "range": "bytes=0-1"}, 412),
    ],
)
async def test_a_range_is_refused_by_every_store(target: Lab, headers: dict[str, str], status: int) -> None:
    await target("PUT", body=b"01234")
    assert (await target("GET", headers=headers)).status == status
    # What was opened for it holds up nobody.
    for _ in range(40):
        await target("GET", headers=headers)
    assert (await target("GET")).body == b"01234"


@settings(max_examples=15 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(calls(), min_size=20, max_size=20))
def _nonsense(upstream: Upstream | None, found: list[Call]) -> None:
    async def run() -> None:
        async with lab(replace(SETTINGS, upstream=upstream, behaviour=Behaviour(unsigned_streaming="accept"))) as lab_:
            await lab_.service.reset()
            await lab_("PUT", body=b"12345")
            for call in found:
                path, query, headers = signed(call)
                if call.method in ("PUT", "POST"):
                    headers["content-length"] = str(len(call.body))
                answer = await ask(lab_.front, call.method, path, query, headers, call.body)
                assert _fine(answer), (call, answer)
            await _probe(lab_)

    asyncio.run(run())


def test_signed_nonsense_is_answered_over_an_upstream() -> None:
    # Not over versitygw, which refuses some keys; docs/standins/r2-rules.md lists them.
    with available("s3") as upstream:
        _nonsense(upstream)


async def test_every_upload_is_listed_however_many_pages_an_upstream_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_PAGE", 3)
    begun = []
    # Not of versitygw, which refuses the markers that it gives.
    with available("s3") as upstream:
        async with lab(replace(SETTINGS, upstream=upstream)) as target:
            for number in range(8):
                # Several of a key, a key that XML cannot hold, and one with what is written otherwise in a URL.
                key = ["a", "b", "c\x01", "d +%"][number % 4]
                answer = await target("POST", f"/{BUCKET}/{key}", query="uploads=")
                begun.append((key, answer.xml.findtext("{*}UploadId")))
            found = await target.service.store.uploads(BUCKET)
            assert sorted((info.key, info.id) for info in found) == sorted(begun)
            await target.service.reset()
            assert await target.service.store.uploads(BUCKET) == []


async def test_reset_leaves_what_is_not_the_stand_ins() -> None:
    with available("s3") as upstream:
        assert upstream
        other = S3Store(upstream, "others")
        await other.create_bucket("others")
        await other.put("others", "k", Content.of(b"x"), hashlib.md5(b"x").hexdigest(), Attributes(), no_check)
        async with lab(replace(SETTINGS, upstream=upstream)) as target:
            await target("PUT", body=b"1")
            await target("PUT", "/made", token=ADMIN_TOKEN)
            await target("PUT", "/made/k", body=b"1")
            await target.service.reset()
            assert (await target("GET", "/made/k")).code == "NoSuchBucket"
            assert (await target("GET")).code == "NoSuchKey"
            assert (await target("GET", "/others/k")).body == b"x"
        await other.close()
