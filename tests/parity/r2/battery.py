"""What triggers each answer of the table of rules: one coroutine per answer id, run with the rule on and off."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, OBJECT_TOKEN, ORIGIN
from tests.parity.r2.lab import HOST, Answer, Call, Lab, signed

from parity.r2.sigv4 import Token
from parity.r2.throttle import WriteWindow

Trigger = Callable[[Lab], Awaitable[Answer]]
TRIGGERS: dict[str, Trigger] = {}
MIB = 1 << 20


def trigger(answer_id: str) -> Callable[[Trigger], Trigger]:
    def add(function: Trigger) -> Trigger:
        TRIGGERS[answer_id] = function
        return function

    return add


async def _upload(ask: Lab, sizes: list[int]) -> tuple[str, list[str]]:
    """An upload with parts of these sizes; its id and their ETags."""
    begun = await ask("POST", query="uploads=")
    upload = begun.xml.findtext("{*}UploadId") or ""
    etags = []
    for number, size in enumerate(sizes, 1):
        query = f"partNumber={number}&uploadId={upload}"
        etags.append((await ask("PUT", query=query, body=b"p" * size)).etag)
    return upload, etags


async def _complete(ask: Lab, upload: str, parts: list[tuple[int, str]]) -> Answer:
    listed = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in parts)
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    return await ask("POST", query=f"uploadId={upload}", body=body)


@trigger("busy")
async def busy(ask: Lab) -> Answer:
    ask.front.behave(replace(ask.front.behaviour, window=WriteWindow(30, 30)))
    await ask("PUT", body=b"1", connection=1)
    return await ask("PUT", body=b"2", connection=2)


@trigger("anonymous")
async def anonymous(ask: Lab) -> Answer:
    return await ask(sign="")


@trigger("unknown-key")
async def unknown_key(ask: Lab) -> Answer:
    return await ask(token=Token("nobody", "x"))


@trigger("signature")
async def signature(ask: Lab) -> Answer:
    return await ask(token=Token(OBJECT_TOKEN.access_key, "wrong"))


@trigger("skew")
async def skew(ask: Lab) -> Answer:
    return await ask(age=16 * 60)


@trigger("expired")
async def expired(ask: Lab) -> Answer:
    return await ask(sign="query", age=120, expires=60, headers={"origin": ORIGIN})


@trigger("expires-too-long")
async def expires_too_long(ask: Lab) -> Answer:
    return await ask(sign="query", expires=604_801)


@trigger("signed-content-type")
async def signed_content_type(ask: Lab) -> Answer:
    call = Call("PUT", headers={"content-type": "video/mp4"}, sign="query", body=b"")
    path, query, headers = signed(call)
    return await ask.raw("PUT", path, query, headers | {"content-type": "text/html", "content-length": "1"}, b"x")


@trigger("sha256-missing")
async def sha256_missing(ask: Lab) -> Answer:
    path, query, headers = signed(Call("GET"))
    del headers["x-amz-content-sha256"]
    return await ask.raw("GET", path, query, headers)


@trigger("sha256-mismatch")
async def sha256_mismatch(ask: Lab) -> Answer:
    path, query, headers = signed(Call("PUT", body=b"signed"))
    return await ask.raw("PUT", path, query, headers | {"content-length": "6"}, b"forged")


@trigger("region")
async def region(ask: Lab) -> Answer:
    return await ask(region="mars-1")


@trigger("streaming-signed")
async def streaming_signed(ask: Lab) -> Answer:
    headers = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x-amz-decoded-content-length": "1"}
    body = b"1;chunk-signature=" + b"0" * 64 + b"\r\nx\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n"
    return await ask("PUT", headers=headers, body=body)


async def _unsigned(ask: Lab, setting: str) -> Answer:
    ask.front.behave(replace(ask.front.behaviour, unsigned_streaming=setting))
    headers = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": "1"}
    return await ask("PUT", headers=headers, body=b"1\r\nx\r\n0\r\n\r\n")


@trigger("streaming-unsigned-501")
async def streaming_unsigned_501(ask: Lab) -> Answer:
    return await _unsigned(ask, "501")


@trigger("streaming-unsigned-401")
async def streaming_unsigned_401(ask: Lab) -> Answer:
    return await _unsigned(ask, "401")


@trigger("form-post")
async def form_post(ask: Lab) -> Answer:
    headers = {"host": HOST, "content-type": "multipart/form-data; boundary=x", "content-length": "5"}
    return await ask.raw("POST", f"/{BUCKET}", "", headers, b"--x--")


@trigger("header")
async def header(ask: Lab) -> Answer:
    return await ask("PUT", headers={"x-amz-tagging": ""}, body=b"x")


@trigger("operation")
async def operation(ask: Lab) -> Answer:
    return await ask("PUT", f"/{BUCKET}", query="policy=", body=b"{}", token=ADMIN_TOKEN)


@trigger("access")
async def access(ask: Lab) -> Answer:
    return await ask("GET", f"/{BUCKET}", query="cors=")


@trigger("precondition")
async def precondition(ask: Lab) -> Answer:
    return await ask("PUT", headers={"if-match": '"never"'}, body=b"x")


@trigger("unequal-parts")
async def unequal_parts(ask: Lab) -> Answer:
    upload, etags = await _upload(ask, [6 * MIB, 5 * MIB, 1])
    return await _complete(ask, upload, list(enumerate(etags, 1)))


@trigger("part-too-small")
async def part_too_small(ask: Lab) -> Answer:
    upload, etags = await _upload(ask, [1000, 1000])
    return await _complete(ask, upload, list(enumerate(etags, 1)))


@trigger("unknown-part")
async def unknown_part(ask: Lab) -> Answer:
    upload, etags = await _upload(ask, [10])
    return await _complete(ask, upload, [(1, etags[0]), (2, '"0"')])


@trigger("no-upload")
async def no_upload(ask: Lab) -> Answer:
    return await ask("PUT", query="partNumber=1&uploadId=none", body=b"x")


@trigger("part-number")
async def part_number(ask: Lab) -> Answer:
    upload, _ = await _upload(ask, [])
    return await ask("PUT", query=f"partNumber=10001&uploadId={upload}", body=b"x")


@trigger("part-order")
async def part_order(ask: Lab) -> Answer:
    upload, etags = await _upload(ask, [5 * MIB, 1])
    return await _complete(ask, upload, [(2, etags[1]), (1, etags[0])])


@trigger("key-too-long")
async def key_too_long(ask: Lab) -> Answer:
    return await ask("PUT", f"/{BUCKET}/" + "k" * 1025, body=b"x")


@trigger("metadata-too-large")
async def metadata_too_large(ask: Lab) -> Answer:
    return await ask("PUT", headers={"x-amz-meta-m": "v" * 8192}, body=b"x")


@trigger("too-large")
async def too_large(ask: Lab) -> Answer:
    size = (5 << 30) - (5 << 20) + 1
    headers = {"content-length": str(size), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    return await ask("PUT", headers=headers, body=b"")


@trigger("no-length")
async def no_length(ask: Lab) -> Answer:
    headers = {"transfer-encoding": "chunked", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    return await ask("PUT", headers=headers, body=b"x", length=False)


@trigger("bad-digest")
async def bad_digest(ask: Lab) -> Answer:
    digest = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    return await ask("PUT", headers={"content-md5": digest}, body=b"x")


@trigger("invalid-digest")
async def invalid_digest(ask: Lab) -> Answer:
    return await ask("PUT", headers={"x-amz-checksum-crc32": "nonsense"}, body=b"x")


@trigger("range")
async def range_(ask: Lab) -> Answer:
    await ask("PUT", body=b"12345")
    return await ask(headers={"range": "bytes=5-9"})


@trigger("range-form")
async def range_form(ask: Lab) -> Answer:
    await ask("PUT", body=b"12345")
    return await ask(headers={"range": "bytes=0-1,3-4"})


@trigger("range-inverted")
async def range_inverted(ask: Lab) -> Answer:
    await ask("PUT", body=b"12345")
    return await ask(headers={"range": "bytes=3-1"})


@trigger("customer-key")
async def customer_key(ask: Lab) -> Answer:
    return await ask("PUT", headers={"x-amz-server-side-encryption-customer-algorithm": "AES256"}, body=b"x")


@trigger("customer-algorithm")
async def customer_algorithm(ask: Lab) -> Answer:
    prefix = "x-amz-server-side-encryption-customer-"
    headers = {f"{prefix}algorithm": "DES", f"{prefix}key": "a", f"{prefix}key-md5": "b"}
    return await ask("PUT", headers=headers, body=b"x")


@trigger("preflight")
async def preflight(ask: Lab) -> Answer:
    headers = {"host": HOST, "origin": "https://stranger.example", "access-control-request-method": "PUT"}
    return await ask.raw("OPTIONS", f"/{BUCKET}/k", "", headers)


@trigger("cors-policy")
async def cors_policy(ask: Lab) -> Answer:
    rule = "<AllowedOrigin>https://a.example/path</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
    body = f"<CORSConfiguration><CORSRule>{rule}</CORSRule></CORSConfiguration>".encode()
    return await ask("PUT", f"/{BUCKET}", query="cors=", body=body, token=ADMIN_TOKEN)


@trigger("list-parameter")
async def list_parameter(ask: Lab) -> Answer:
    return await ask("GET", f"/{BUCKET}", query="list-type=2&colour=red")


@trigger("malformed-xml")
async def malformed_xml(ask: Lab) -> Answer:
    listed = "".join(f"<Object><Key>{number}</Key></Object>" for number in range(1001))
    return await ask("POST", f"/{BUCKET}", query="delete=", body=f"<Delete>{listed}</Delete>".encode())


@trigger("route")
async def route(ask: Lab) -> Answer:
    return await ask("PATCH")


@trigger("storage-class")
async def storage_class(ask: Lab) -> Answer:
    return await ask("PUT", headers={"x-amz-storage-class": "GLACIER"}, body=b"x")


@trigger("auth-form")
async def auth_form(ask: Lab) -> Answer:
    path, query, headers = signed(Call("GET"))
    broken = headers["authorization"].replace("/s3/aws4_request", "/sqs/aws4_request")
    return await ask.raw("GET", path, query, headers | {"authorization": broken})


@trigger("auth-algorithm")
async def auth_algorithm(ask: Lab) -> Answer:
    path, query, headers = signed(Call("GET"))
    return await ask.raw("GET", path, query, headers | {"authorization": "Bearer token"})


@trigger("auth-host")
async def auth_host(ask: Lab) -> Answer:
    path, query, headers = signed(Call("GET"))
    broken = headers["authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
    return await ask.raw("GET", path, query, headers | {"authorization": broken})


@trigger("session-token")
async def session_token(ask: Lab) -> Answer:
    return await ask(headers={"x-amz-security-token": "t"})


@trigger("sigv2")
async def sigv2(ask: Lab) -> Answer:
    return await ask.raw("GET", f"/{BUCKET}/k", "AWSAccessKeyId=a&Signature=b&Expires=9999999999", {"host": HOST})


@trigger("bucket-parameter")
async def bucket_parameter(ask: Lab) -> Answer:
    return await ask("PUT", "/another-bucket", query="colour=red", token=ADMIN_TOKEN)


async def together(*calls: Awaitable[Answer]) -> list[Answer]:
    return list(await asyncio.gather(*calls))
