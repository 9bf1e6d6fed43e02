"""What the rules do that refuse nothing: one coroutine for each, with what it finds with the rule and without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

from tests.parity.r2.conftest import ADMIN_TOKEN, BUCKET, ORIGIN
from tests.parity.r2.lab import Call, Lab, signed

Look = Callable[[Lab], Awaitable[object]]
COMPOSED, DECOMPOSED = "H\u00e9llo", "He\u0301llo"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@dataclass(frozen=True)
class Effect:
    look: Look
    on: object
    off: object


EFFECTS: dict[int, Effect] = {}


def effect(rule: int, on: object, off: object) -> Callable[[Look], Look]:
    def add(look: Look) -> Look:
        EFFECTS[rule] = Effect(look, on, off)
        return look

    return add


@effect(25, on=(ORIGIN, None), off=(ORIGIN, "https://stranger.example"))
async def cors_headers(ask: Lab) -> object:
    known = await ask(headers={"origin": ORIGIN})
    stranger = await ask(headers={"origin": "https://stranger.example"})
    return tuple(answer.headers.get("access-control-allow-origin") for answer in (known, stranger))


@effect(34, on=(400, "BadDigest", 404), off=(200, "", 200))
async def headers_in_the_query(ask: Lab) -> object:
    query = "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32&x-id=PutObject"
    path, signed_query, headers = signed(Call("PUT", query=query, sign="query"))
    answer = await ask.raw("PUT", path, signed_query, headers | {"content-length": "5"}, b"hello")
    return answer.status, answer.code, (await ask()).status


@effect(35, on=(b"second", 1), off=(b"first", 2))
async def unicode_keys(ask: Lab) -> object:
    await ask("PUT", f"/{BUCKET}/{COMPOSED}", body=b"first")
    await ask("PUT", f"/{BUCKET}/{DECOMPOSED}", body=b"second")
    found = await ask("GET", f"/{BUCKET}/{COMPOSED}")
    return found.body, len((await ask("GET", f"/{BUCKET}")).xml.findall("{*}Contents"))


@effect(37, on=("new", "kept", "text/plain"), off=(400, "InvalidArgument"))
async def merge(ask: Lab) -> object:
    metadata = {"x-amz-meta-a": "old", "x-amz-meta-b": "kept", "content-type": "text/plain"}
    await ask("PUT", f"/{BUCKET}/source", headers=metadata, body=b"x")
    headers = {
        "x-amz-copy-source": f"/{BUCKET}/source",
        "x-amz-metadata-directive": "MERGE",
        "x-amz-meta-a": "new",
    }
    answer = await ask("PUT", headers=headers)
    if answer.status != 200:
        return answer.status, answer.code
    found = await ask("HEAD")
    return found.headers["x-amz-meta-a"], found.headers["x-amz-meta-b"], found.headers["content-type"]


@effect(40, on=(412, 404), off=(412, 200))
async def failed_complete(ask: Lab) -> object:
    begun = await ask("POST", query="uploads=")
    upload = begun.xml.findtext("{*}UploadId") or ""
    part = await ask("PUT", query=f"partNumber=1&uploadId={upload}", body=b"part")
    await ask("PUT", body=b"another came first")
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{quote(part.etag, safe='')}</ETag></Part>".replace("%22", "&quot;")
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    refused = await ask("POST", query=f"uploadId={upload}", headers={"if-none-match": "*"}, body=body)
    return refused.status, (await ask("GET", query=f"uploadId={upload}")).status


@effect(41, on=(200, 200), off=(404, 404))
async def missing_bucket(ask: Lab) -> object:
    call = {"headers": {"cf-create-bucket-if-missing": "true"}, "token": ADMIN_TOKEN}
    put = await ask("PUT", "/made-on-demand/k", body=b"x", **call)
    found = await ask("GET", "/made-on-demand/k", token=ADMIN_TOKEN)
    if put.status == 200:
        await ask("DELETE", "/made-on-demand/k", token=ADMIN_TOKEN)
        await ask("DELETE", "/made-on-demand", token=ADMIN_TOKEN)
    return put.status, found.status


@effect(42, on="image/png", off="application/octet-stream")
async def inferred_type(ask: Lab) -> object:
    await ask("PUT", body=PNG)
    return (await ask("HEAD")).headers["content-type"]


@effect(43, on="=?UTF-8?B?QsOpYQ==?=", off="=?utf-8?q?B=C3=A9a?=")
async def metadata_in_other_scripts(ask: Lab) -> object:
    await ask("PUT", headers={"x-amz-meta-name": "=?utf-8?q?B=C3=A9a?="}, body=b"x")
    return (await ask("HEAD")).headers["x-amz-meta-name"]


@effect(44, on=(["zzz-last"], "false"), off=([BUCKET, "zzz-last"], None))
async def listed_buckets(ask: Lab) -> object:
    await ask("PUT", "/zzz-last", token=ADMIN_TOKEN)
    try:
        answer = await ask("GET", "/", query="prefix=zzz-", token=ADMIN_TOKEN)
        names = [found.text for found in answer.xml.findall("{*}Buckets/{*}Bucket/{*}Name")]
        return [name for name in names if name in (BUCKET, "zzz-last")], answer.headers.get("cf-is-truncated")
    finally:
        await ask("DELETE", "/zzz-last", token=ADMIN_TOKEN)


@effect(45, on="auto", off=None)
async def bucket_region(ask: Lab) -> object:
    return (await ask("HEAD", f"/{BUCKET}")).headers.get("x-amz-bucket-region")


@effect(46, on=200, off=501)
async def purpose(ask: Lab) -> object:
    return (await ask("GET", f"/{BUCKET}", query="list-type=2&x-purpose=any")).status


@effect(50, on=[204, 204, 404], off=[204, 404, 404])
async def abort_again(ask: Lab) -> object:
    upload = (await ask("POST", query="uploads=")).xml.findtext("{*}UploadId") or ""
    query = f"uploadId={quote(upload, safe='')}"
    answers = [await ask("DELETE", query=query), await ask("DELETE", query=query)]
    answers.append(await ask("DELETE", f"/{BUCKET}/another", query=query))
    return [answer.status for answer in answers]
