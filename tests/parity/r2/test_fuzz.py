"""Whatever is sent, the answer is an answer: never a 5xx that was not asked for, never a broken store."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import random
import ssl
from dataclasses import replace
from urllib.parse import quote, urlsplit

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, OBJECT_TOKEN, SETTINGS, StandIn
from tests.parity.r2.lab import Answer, Call, Lab, ask, lab, signed

from parity.r2.settings import Behaviour

# 501 is R2's word for what it lacks; nothing else of 500 and up may come.
METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"]
PARAMETERS = [
    "acl", "cors", "continuation-token", "delete", "delimiter", "encoding-type", "fetch-owner", "key-marker",
    "lifecycle", "list-type", "location", "marker", "max-keys", "max-parts", "max-uploads", "part-number-marker",
    "partNumber", "policy", "prefix", "response-content-type", "response-expires", "start-after", "tagging",
    "upload-id-marker",
    "uploadId", "uploads", "versioning", "versionId", "x-id",
]  # fmt: skip
HEADERS = [
    "access-control-request-headers", "access-control-request-method", "content-encoding", "content-md5",
    "content-type", "if-match", "if-modified-since", "if-none-match", "if-unmodified-since", "origin", "range",
    "x-amz-acl", "x-amz-checksum-crc32", "x-amz-checksum-crc64nvme", "x-amz-checksum-sha256", "x-amz-content-sha256",
    "x-amz-copy-source", "x-amz-copy-source-if-match", "x-amz-copy-source-range", "x-amz-decoded-content-length",
    "x-amz-meta-m", "x-amz-metadata-directive", "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class", "x-amz-trailer",
]  # fmt: skip
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
LATIN = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
VALUES = st.one_of(
    LATIN,
    st.integers(-1, 10**12).map(str),
    st.sampled_from(
        [
            "*", '"x"', "bytes=0-", "bytes=-0", "bytes=5-1", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "UNSIGNED-PAYLOAD",
            f"/{BUCKET}/k", f"{BUCKET}/%FF", "Tue, 24 Nov 2026 00:00:00 GMT", "x-amz-checksum-crc32", "aws-chunked",
        ]
    ),
)  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"<Delete><Object><Key>k</Key></Object></Delete>",
            b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
            b"<CORSConfiguration><CORSRule/></CORSConfiguration>",
            b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Delete>&a;</Delete>',
            b"<" * 1000,
            b"1\r\nx\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
            b"ffffffffffffffff\r\n",
        ]
    ),
)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    parameters = draw(st.dictionaries(st.sampled_from(PARAMETERS), st.one_of(TEXT, VALUES), max_size=3))
    return Call(
        draw(st.sampled_from(METHODS)),
        draw(st.sampled_from(["/", f"/{BUCKET}", f"/{BUCKET}/", "/other", "//", f"/{BUCKET}/k"]))
        + draw(st.one_of(st.just(""), TEXT)),
        "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in parameters.items()),
        draw(st.dictionaries(st.sampled_from(HEADERS), VALUES, max_size=4)),
        draw(BODIES),
        draw(st.sampled_from(["header", "query", ""])),
        draw(st.sampled_from([OBJECT_TOKEN, ADMIN_TOKEN])),
    )


def _fine(answer: Answer) -> bool:
    if answer.status == 501 and answer.code == "NotImplemented":
        return True
    return 200 <= answer.status < 500


async def _probe(found: Lab) -> None:
    """The store still does its work."""
    found.front.behave(SETTINGS.behaviour)
    await found.service.reset()
    assert (await found("PUT", body=b"alive")).status == 200
    assert (await found()).body == b"alive"


EXAMPLES = 20 if os.environ.get("RUN_SLOW") == "1" else 1


@settings(max_examples=60 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(calls(), min_size=5, max_size=15))
def test_signed_nonsense_is_answered(found: list[Call]) -> None:
    async def run() -> None:
        behaviour = Behaviour(unsigned_streaming="accept")
        async with lab(replace(SETTINGS, behaviour=behaviour)) as target:
            await target("PUT", body=b"12345")
            for call in found:
                path, query, headers = signed(call)
                if call.body or call.method in ("PUT", "POST"):
                    headers["content-length"] = str(len(call.body))
                answer = await ask(target.front, call.method, path, query, headers, call.body)
                assert _fine(answer), (call, answer)
            await _probe(target)

    asyncio.run(run())


@settings(max_examples=150 * EXAMPLES, deadline=None)
@given(
    st.sampled_from(METHODS),
    st.binary(max_size=60),
    st.binary(max_size=60),
    st.dictionaries(st.sampled_from([*HEADERS, "authorization", "host", "x-amz-date"]), LATIN, max_size=5),
)
def test_unsigned_bytes_are_answered(method: str, path: bytes, query: bytes, headers: dict[str, str]) -> None:
    async def run() -> None:
        async with lab(SETTINGS) as target:
            text = "/" + path.decode("latin-1")
            answer = await ask(target.front, method, text, query.decode("latin-1"), headers, b"")
            assert _fine(answer), answer

    asyncio.run(run())


@settings(max_examples=15 * EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(calls(), min_size=5, max_size=15))
def test_signed_nonsense_is_answered_over_the_wire(r2: StandIn, found: list[Call]) -> None:
    """Past the front, where uvicorn looks at what it is given to send."""
    r2.client().put_object(Bucket=BUCKET, Key="k", Body=b"12345")
    for call in found:
        status = _answered(r2, call)
        assert 200 <= status < 500 or status == 501, (call, status)


def _answered(r2: StandIn, call: Call) -> int:
    parts = urlsplit(r2.url)
    path, query, headers = signed(call, parts.netloc)
    if call.body or call.method in ("PUT", "POST"):
        headers["content-length"] = str(len(call.body))
    context = ssl.create_default_context(cafile=str(r2.ca))
    client = http.client.HTTPSConnection("localhost", parts.port, timeout=60, context=context)
    with contextlib.closing(client):
        client.putrequest(call.method, f"{path}?{query}", skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            client.putheader(name, value)
        client.endheaders(call.body or None)
        with client.getresponse() as answer:
            answer.read()
            return answer.status


def test_broken_http_over_the_wire_leaves_the_stand_in_at_work(r2: StandIn) -> None:
    chance = random.Random(5)
    base = f"GET /{BUCKET}/k?list-type=2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc".encode()

    async def send(data: bytes) -> bytes:
        context = ssl.create_default_context(cafile=str(r2.ca))
        reader, writer = await asyncio.open_connection("localhost", urlsplit(r2.url).port, ssl=context)
        writer.write(data)
        try:
            return await asyncio.wait_for(reader.read(12), 2)
        except (TimeoutError, ConnectionError, ssl.SSLError):
            return b""
        finally:
            writer.transport.abort()

    async def run() -> list[bytes]:
        messages = []
        for _ in range(60):
            data = bytearray(base)
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            messages.append(bytes(data[: chance.randint(1, len(data))]))
        messages += [f"GET /{BUCKET}/\u00fc\u00e9 HTTP/1.1\r\nHost: x\r\n\r\n".encode(), b"GET * HTTP/1.1\r\n\r\n"]
        return list(await asyncio.gather(*(send(message) for message in messages)))

    answers = asyncio.run(run())
    assert {answer[9:10] for answer in answers if answer} <= {b"2", b"3", b"4"}
    s3 = r2.client()
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"alive")
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"alive"
