"""What triggers each answer of the table of rules: one coroutine per answer id, run with the rule on and off."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, OBJECT_TOKEN, ORIGIN
from tests.parity.r2.lab import HOST, Answer, Call, Lab, signed

from parity.r2 import answers, locks
from parity.r2.sigv4 import Token
from parity.r2.throttle import WriteWindow

Trigger = Callable[[Lab], Awaitable[Answer]]
TRIGGERS: dict[answers.Answer, Trigger] = {}
MIB = 1 << 20


def trigger(answer: answers.Answer) -> Callable[[Trigger], Trigger]:
    def add(function: Trigger) -> Trigger:
        TRIGGERS[answer] = function
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


@trigger(answers.BUSY)
async def busy(ask: Lab) -> Answer:
    ask.front.behave(replace(ask.front.behaviour, write_window=WriteWindow(30, 30)))
    await ask("PUT", body=b"1", connection=1)
    return await ask("PUT", body=b"2", connection=2)


@trigger(answers.ANONYMOUS)
async def anonymous(ask: Lab) -> Answer:
    return await ask(sign="")


@trigger(answers.UNKNOWN_KEY)
async def unknown_key(ask: Lab) -> Answer:
    return await ask(token=Token("nobody", "x"))


@trigger(answers.SIGNATURE)
async def signature(ask: Lab) -> Answer:
    return await ask(token=Token(OBJECT_TOKEN.access_key, "wrong"))


@trigger(answers.SKEW)
async def skew(ask: Lab) -> Answer:
    return await ask(age=16 * 60)


@trigger(answers.EXPIRED)
async def expired(ask: Lab) -> Answer:
    return await ask(sign="query", age=120, expires=60, headers={"origin": ORIGIN})


@trigger(answers.EXPIRES_TOO_LONG)
async def expires_too_long(ask: Lab) -> Answer:
    return await ask(sign="query", expires=604_801)


@trigger(answers.SIGNED_CONTENT_TYPE)
async def signed_content_type(ask: Lab) -> Answer:
    call = Call("PUT", headers={"content-type": "video/mp4"}, sign="query", body=b"")
    path, query, headers = signed(call)
    return await ask.raw("PUT", path, query, headers | {"content-type": "text/html", "content-length": "1"}, b"x")


@trigger(answers.SHA256_MISSING)
async def sha256_missing(ask: Lab) -> Answer:
    path, query, headers = signed(Call("GET"))
    del headers["x-amz-content-sha256"]
    return await ask.raw("GET", path, query, headers)


@trigger(answers.SHA256_MISMATCH)
async def sha256_mismatch(ask: Lab) -> Answer:
    path, query, headers = signed(Call("PUT", body=b"signed"))
    return await ask.raw("PUT", path, query, headers | {"content-length": "6"}, b"forged")


@trigger(answers.REGION)
async def region(ask: Lab) -> Answer:
    return await ask(region="mars-1")


@trigger(answers.STREAMING_SIGNED)
async def streaming_signed(ask: Lab) -> Answer:
    headers = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x-amz-decoded-content-length": "1"}
    body = b"1;chunk-signature=" + b"0" * 64 + b"\r\nx\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n"
    return await ask("PUT", headers=headers, body=body)


async def _unsigned(ask: Lab, setting: str) -> Answer:
    ask.front.behave(replace(ask.front.behaviour, unsigned_streaming=setting))
    headers = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-decoded-content-length": "1"}
    return await ask("PUT", headers=headers, body=b"1\r\nx\r\n0\r\n\r\n")


@trigger(answers.STREAMING_UNSIGNED_501)
async def streaming_unsigned_501(ask: Lab) -> Answer:
    return await _unsigned(ask, "501")


@trigger(answers.STREAMING_UNSIGNED_401)
async def streaming_unsigned_401(ask: Lab) -> Answer:
    return await _unsigned(ask, "401")


@trigger(answers.FORM_POST)
async def form_post(ask: Lab) -> Answer:
    headers = {"host": HOST, "content-type": "multipart/form-data; boundary=x", "content-length": "5"}
    return await ask.raw("POST", f"/{BUCKET}", "", headers, b"--x--")


@trigger(answers.HEADER)
async def header(ask: Lab) -> Answer:
    return await ask("PUT", headers={"x-amz-tagging": ""}, body=b"x")


@trigger(answers.OPERATION)
async def operation(ask: Lab) -> Answer:
    return await ask("PUT", f"/{BUCKET}", query="policy=", body=b"{}", token=ADMIN_TOKEN)


@trigger(answers.ACCESS)
async def access(ask: Lab) -> Answer:
    return await ask("GET", f"/{BUCKET}", query="cors=")


@trigger(answers.PRECONDITION)
async def precondition(ask: Lab) -> Answer:
    return await ask("PUT", headers={"if-match": '"never"'}, body=b"x")


@trigger(answers.UNEQUAL_PARTS)
async def unequal_parts(ask: Lab) -> Answer:
    upload, etags = await _upload(ask, [6 * MIB, 5 * MIB, 1])
    return await _complete(ask, upload, list(enumerate(etags, 1)))


@trigger(answers.PART_TOO_SMALL)
async def part_too_small(ask: Lab) -> Answer:
    upload, etags = await _upload(ask, [1000, 1000])
    return await _complete(ask, upload, list(enumerate(etags, 1)))


@trigger(answers.UNKNOWN_PART)
async def unknown_part(ask: Lab) -> Answer:
    upload, etags = await _upload(ask, [10])
    return await _complete(ask, upload, [(1, etags[0]), (2, '"0"')])


@trigger(answers.NO_UPLOAD)
async def no_upload(ask: Lab) -> Answer:
    return await ask("PUT", query="partNumber=1&uploadId=none", body=b"x")


@trigger(answers.PART_NUMBER)
async def part_number(ask: Lab) -> Answer:
    upload, _ = await _upload(ask, [])
    return await ask("PUT", query=f"partNumber=10001&uploadId={upload}", body=b"x")


@trigger(answers.PART_ORDER)
async def part_order(ask: Lab) -> Answer:
    upload, etags = await _upload(ask, [5 * MIB, 1])
    return await _complete(ask, upload, [(2, etags[1]), (1, etags[0])])


@trigger(answers.KEY_TOO_LONG)
async def key_too_long(ask: Lab) -> Answer:
    return await ask("PUT", f"/{BUCKET}/" + "k" * 1025, body=b"x")


@trigger(answers.METADATA_TOO_LARGE)
async def metadata_too_large(ask: Lab) -> Answer:
    return await ask("PUT", headers={"x-amz-meta-m": "v" * 8192}, body=b"x")


@trigger(answers.TOO_LARGE)
async def too_large(ask: Lab) -> Answer:
    size = (5 << 30) - (5 << 20) + 1
    headers = {"content-length": str(size), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    return await ask("PUT", headers=headers, body=b"")


@trigger(answers.NO_LENGTH)
async def no_length(ask: Lab) -> Answer:
    headers = {"transfer-encoding": "chunked", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    return await ask("PUT", headers=headers, body=b"x", length=False)


@trigger(answers.BAD_DIGEST)
async def bad_digest(ask: Lab) -> Answer:
    digest = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    return await ask("PUT", headers={"content-md5": digest}, body=b"x")


@trigger(answers.INVALID_DIGEST)
async def invalid_digest(ask: Lab) -> Answer:
    return await ask("PUT", headers={"x-amz-checksum-crc32": "nonsense"}, body=b"x")


@trigger(answers.RANGE)
async def range_(ask: Lab) -> Answer:
    await ask("PUT", body=b"12345")
    return await ask(headers={"range": "bytes=5-9"})


@trigger(answers.RANGE_FORM)
async def range_form(ask: Lab) -> Answer:
    await ask("PUT", body=b"12345")
    return await ask(headers={"range": "bytes=0-1,3-4"})


@trigger(answers.RANGE_INVERTED)
async def range_inverted(ask: Lab) -> Answer:
    await ask("PUT", body=b"12345")
    return await ask(headers={"range": "bytes=3-1"})


@trigger(answers.CUSTOMER_KEY)
async def customer_key(ask: Lab) -> Answer:
    return await ask("PUT", headers={"x-amz-server-side-encryption-customer-algorithm": "AES256"}, body=b"x")


@trigger(answers.CUSTOMER_ALGORITHM)
async def customer_algorithm(ask: Lab) -> Answer:
    prefix = "x-amz-server-side-encryption-customer-"
    headers = {f"{prefix}algorithm": "DES", f"{prefix}key": "a", f"{prefix}key-md5": "b"}
    return await ask("PUT", headers=headers, body=b"x")


@trigger(answers.PREFLIGHT)
async def preflight(ask: Lab) -> Answer:
    headers = {"host": HOST, "origin": "https://stranger.example", "access-control-request-method": "PUT"}
    return await ask.raw("OPTIONS", f"/{BUCKET}/k", "", headers)


@trigger(answers.CORS_POLICY)
async def cors_policy(ask: Lab) -> Answer:
    rule = "<AllowedOrigin>https://a.example/path</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
    body = f"<CORSConfiguration><CORSRule>{rule}</CORSRule></CORSConfiguration>".encode()
    return await ask("PUT", f"/{BUCKET}", query="cors=", body=body, token=ADMIN_TOKEN)


@trigger(answers.LIST_PARAMETER)
async def list_parameter(ask: Lab) -> Answer:
    return await ask("GET", f"/{BUCKET}", query="list-type=2&colour=red")


@trigger(answers.MALFORMED_XML)
async def malformed_xml(ask: Lab) -> Answer:
    listed = "".join(f"<Object><Key>{number}</Key></Object>" for number in range(1001))
    return await ask("POST", f"/{BUCKET}", query="delete=", body=f"<Delete>{listed}</Delete>".encode())


@trigger(answers.ROUTE)
async def route(ask: Lab) -> Answer:
    return await ask("PATCH")


@trigger(answers.STORAGE_CLASS)
async def storage_class(ask: Lab) -> Answer:
    return await ask("PUT", headers={"x-amz-storage-class": "GLACIER"}, body=b"x")


@trigger(answers.AUTH_FORM)
async def auth_form(ask: Lab) -> Answer:
    path, query, headers = signed(Call("GET"))
    broken = headers["authorization"].replace("/s3/aws4_request", "/sqs/aws4_request")
    return await ask.raw("GET", path, query, headers | {"authorization": broken})


@trigger(answers.AUTH_ALGORITHM)
async def auth_algorithm(ask: Lab) -> Answer:
    path, query, headers = signed(Call("GET"))
    return await ask.raw("GET", path, query, headers | {"authorization": "Bearer token"})


@trigger(answers.AUTH_HOST)
async def auth_host(ask: Lab) -> Answer:
    path, query, headers = signed(Call("GET"))
    broken = headers["authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
    return await ask.raw("GET", path, query, headers | {"authorization": broken})


@trigger(answers.SESSION_TOKEN)
async def session_token(ask: Lab) -> Answer:
    return await ask(headers={"x-amz-security-token": "t"})


@trigger(answers.SIGV2)
async def sigv2(ask: Lab) -> Answer:
    return await ask.raw("GET", f"/{BUCKET}/k", "AWSAccessKeyId=a&Signature=b&Expires=9999999999", {"host": HOST})


@trigger(answers.BUCKET_PARAMETER)
async def bucket_parameter(ask: Lab) -> Answer:
    return await ask("PUT", "/another-bucket", query="colour=red", token=ADMIN_TOKEN)


@trigger(answers.BUCKET_EXISTS)
async def bucket_exists(ask: Lab) -> Answer:
    return await ask("PUT", f"/{BUCKET}", token=ADMIN_TOKEN)


@trigger(answers.CORS_DOCUMENT)
async def cors_document(ask: Lab) -> Answer:
    rule = "<AllowedOrigin>http://localhost:*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
    body = f"<CORSConfiguration><CORSRule>{rule}</CORSRule></CORSConfiguration>".encode()
    return await ask("PUT", f"/{BUCKET}", query="cors=", body=body, token=ADMIN_TOKEN)


@trigger(answers.COPY_DESTINATION)
async def copy_destination(ask: Lab) -> Answer:
    await ask("PUT", f"/{BUCKET}/source", body=b"of a copy")
    headers = {"x-amz-copy-source": f"/{BUCKET}/source", "cf-copy-destination-if-match": '"never"'}
    return await ask("PUT", headers=headers)


async def _part_copy(ask: Lab, copied: str) -> Answer:
    upload, _ = await _upload(ask, [])
    await ask("PUT", f"/{BUCKET}/source", body=b"12345")
    headers = {"x-amz-copy-source": f"/{BUCKET}/source", "x-amz-copy-source-range": copied}
    return await ask("PUT", query=f"partNumber=1&uploadId={upload}", headers=headers)


@trigger(answers.COPY_RANGE_FORM)
async def copy_range_form(ask: Lab) -> Answer:
    return await _part_copy(ask, "bytes=-3")


@trigger(answers.COPY_RANGE_INVERTED)
async def copy_range_inverted(ask: Lab) -> Answer:
    return await _part_copy(ask, "bytes=3-1")


@trigger(answers.COPY_RANGE_PAST_END)
async def copy_range_past_end(ask: Lab) -> Answer:
    ask.front.behave(replace(ask.front.behaviour, copy_range="refuse"))
    return await _part_copy(ask, "bytes=0-9")


@trigger(answers.DUPLICATE_PART)
async def duplicate_part(ask: Lab) -> Answer:
    upload, etags = await _upload(ask, [10])
    return await _complete(ask, upload, [(1, etags[0]), (1, etags[0])])


@trigger(answers.SEVERAL_CHECKSUMS)
async def several_checksums(ask: Lab) -> Answer:
    headers = {"content-md5": base64.b64encode(hashlib.md5(b"x").digest()).decode(), "x-amz-checksum-crc32": "jNxZig=="}
    return await ask("PUT", headers=headers, body=b"x")


@trigger(answers.CHECKSUM_TYPE)
async def checksum_type(ask: Lab) -> Answer:
    headers = {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"}
    return await ask("POST", query="uploads=", headers=headers)


@trigger(answers.PART_CHECKSUM)
async def part_checksum(ask: Lab) -> Answer:
    upload, _ = await _upload(ask, [])
    digest = base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    query, headers = f"partNumber=1&uploadId={upload}", {"x-amz-checksum-sha256": digest}
    return await ask("PUT", query=query, headers=headers, body=b"x")


@trigger(answers.LOCKED)
async def locked(ask: Lab) -> Answer:
    await ask("PUT", f"/{BUCKET}/locked", body=b"x")
    rule = {"id": "all", "prefix": "locked", "condition": {"type": "Indefinite"}}
    ask.front.configured.locks[BUCKET] = locks.from_json({"rules": [rule]})
    return await ask("PUT", f"/{BUCKET}/locked", body=b"y")


@trigger(answers.LIFECYCLE_FEATURE)
async def lifecycle_feature(ask: Lab) -> Answer:
    rule = "<Status>Enabled</Status><NoncurrentVersionExpiration/>"
    body = f"<LifecycleConfiguration><Rule>{rule}</Rule></LifecycleConfiguration>".encode()
    return await ask("PUT", f"/{BUCKET}", query="lifecycle=", body=body, token=ADMIN_TOKEN)


def sse_c(key: bytes, prefix: str = "x-amz-") -> dict[str, str]:
    """The headers that encrypt with ``key``, 32 bytes."""
    start = f"{prefix}server-side-encryption-customer-"
    digest = base64.b64encode(hashlib.md5(key).digest()).decode()
    return {f"{start}algorithm": "AES256", f"{start}key": base64.b64encode(key).decode(), f"{start}key-md5": digest}


@trigger(answers.CUSTOMER_KEY_MISSING)
async def customer_key_missing(ask: Lab) -> Answer:
    await ask("PUT", f"/{BUCKET}/encrypted", headers=sse_c(b"k" * 32), body=b"x")
    return await ask("GET", f"/{BUCKET}/encrypted")


@trigger(answers.CUSTOMER_KEY_UNUSED)
async def customer_key_unused(ask: Lab) -> Answer:
    await ask("PUT", f"/{BUCKET}/plain", body=b"x")
    return await ask("GET", f"/{BUCKET}/plain", headers=sse_c(b"k" * 32))


@trigger(answers.CUSTOMER_KEY_WRONG)
async def customer_key_wrong(ask: Lab) -> Answer:
    await ask("PUT", f"/{BUCKET}/encrypted", headers=sse_c(b"k" * 32), body=b"x")
    return await ask("GET", f"/{BUCKET}/encrypted", headers=sse_c(b"o" * 32))


async def together(*calls: Awaitable[Answer]) -> list[Answer]:
    return list(await asyncio.gather(*calls))
