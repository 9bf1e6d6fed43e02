"""PutObject, CopyObject, GetObject, HeadObject, DeleteObject, DeleteObjects."""

from __future__ import annotations

import asyncio
import os
from email.utils import parsedate_to_datetime

from parity.r2 import answers, xml
from parity.r2.conditions import http_date, parse_range, read_check, source_check, write_check
from parity.r2.errors import R2Error, invalid_argument, malformed_xml, no_such_bucket
from parity.r2.headers import attributes, check_key, response_headers
from parity.r2.operations.context import Context
from parity.r2.reply import Headers, Reply, xml_reply
from parity.r2.request import parse_query, split_path
from parity.r2.store.interface import Attributes, ObjectInfo, no_check

MAX_DELETES = 1000
# Search parameters of a signed GET that replace a header of the response.
_OVERRIDES = {
    "response-content-type": "content-type",
    "response-content-language": "content-language",
    "response-expires": "expires",
    "response-cache-control": "cache-control",
    "response-content-disposition": "content-disposition",
    "response-content-encoding": "content-encoding",
}


def iso_date(seconds: float) -> str:
    return parsedate_to_datetime(http_date(seconds)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(seconds % 1 * 1000):03d}Z"


async def put_object(context: Context) -> Reply:
    kept = attributes(context.request.headers, context.rules)
    check = write_check(context.request.headers, context.rules)
    body = await context.body()
    request = context.request
    info = await context.store.put(request.bucket, request.key, body.content, body.etag, kept, check)
    return Reply(200, [("ETag", f'"{info.etag}"')])


def copy_source(context: Context) -> tuple[str, str]:
    """Bucket and key of ``x-amz-copy-source``. Raises ``InvalidArgument``."""
    source = context.request.headers["x-amz-copy-source"]
    path, _, query = source.partition("?")
    if any(name == "versionId" for name, _ in parse_query(query)):
        context.rules.refuse_if_on(answers.HEADER, name="x-amz-copy-source", value=source)
    bucket, key = split_path("/" + path.removeprefix("/").replace("+", "%20"), "", ())
    if not bucket or not key:
        raise invalid_argument("copy source bucket name")
    return bucket, key


async def copy_object(context: Context) -> Reply:
    request, headers = context.request, context.request.headers
    directive = headers.get("x-amz-metadata-directive", "COPY")
    if directive not in ("COPY", "REPLACE"):
        raise invalid_argument(f"metadata directive {directive}.")
    source = copy_source(context)
    target = (request.bucket, request.key)
    replaced: Attributes | None = None
    if directive == "REPLACE":
        replaced = attributes(headers, context.rules)
    elif "x-amz-storage-class" in headers:
        found = await context.store.head(*source)
        replaced = Attributes(found.attributes.headers, headers["x-amz-storage-class"])
    elif source == target:
        raise R2Error(
            400,
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes.",
        )
    await context.body()
    info = await context.store.copy(
        source, target, replaced, source_check(headers, context.rules), write_check(headers, context.rules)
    )
    content = [xml.text("ETag", f'"{info.etag}"'), xml.text("LastModified", iso_date(info.modified))]
    return xml_reply("CopyObjectResult", content)


def _object_headers(context: Context, info: ObjectInfo) -> Headers:
    overrides = {
        header: context.request.params[parameter]
        for parameter, header in _OVERRIDES.items()
        if parameter in context.request.params
    }
    headers = [(name, value) for name, value in response_headers(info.attributes) if name not in overrides]
    headers += overrides.items()
    headers += [
        ("ETag", f'"{info.etag}"'),
        ("Last-Modified", http_date(info.modified)),
        ("Accept-Ranges", "bytes"),
    ]
    return headers


async def get_object(context: Context) -> Reply:
    request = context.request
    if "partNumber" in request.params:
        return await _get_part(context)
    info, read = await context.store.open(request.bucket, request.key, request.header("range"))
    read_check(request.headers, context.rules, info)
    headers = _object_headers(context, info)
    wanted = parse_range(request.header("range"), info.size, context.rules)
    if wanted is not None:
        headers.append(("Content-Range", wanted.header))
        return Reply(206, headers, read(wanted.start, wanted.length), wanted.length)
    return Reply(200, headers, read(0, info.size), info.size)


async def _get_part(context: Context) -> Reply:
    """One part of an object by its number: a range of it, with the number of parts told."""
    request = context.request
    info, read = await context.store.open(request.bucket, request.key)
    read_check(request.headers, context.rules, info)
    start, length, headers = _part(context, info)
    return Reply(206, headers, read(start, length), length)


def _part(context: Context, info: ObjectInfo) -> tuple[int, int, Headers]:
    """Where the part that is asked for begins, its length, and the headers that go with it."""
    number, sizes = context.number("partNumber", 1), info.part_sizes or (info.size,)
    if not 1 <= number <= len(sizes):
        raise R2Error(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
    start, length = sum(sizes[: number - 1]), sizes[number - 1]
    headers = _object_headers(context, info)
    if length:
        headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{info.size}"))
    if info.part_sizes:
        headers.append(("x-amz-mp-parts-count", str(len(sizes))))
    return start, length, headers


async def head_object(context: Context) -> Reply:
    request = context.request
    info = await context.store.head(request.bucket, request.key)
    read_check(request.headers, context.rules, info)
    if "partNumber" in request.params:
        _, length, headers = _part(context, info)
        return Reply(206, headers, length=length)
    headers = _object_headers(context, info)
    wanted = parse_range(request.header("range"), info.size, context.rules)
    if wanted is not None:
        headers.append(("Content-Range", wanted.header))
        return Reply(206, headers, length=wanted.length)
    return Reply(200, headers, length=info.size)


async def delete_object(context: Context) -> Reply:
    request = context.request
    await context.store.delete(request.bucket, request.key, write_check(request.headers, context.rules))
    return Reply(204)


def keys_to_delete(body: bytes) -> list[str]:
    """The keys of a DeleteObjects. Raises ``MalformedXML``."""
    root = xml.parse(body, "Delete")
    # Not stripped: a key may begin or end with a space, or be one.
    keys = [found.findtext("Key") or "" for found in root.findall("Object")]
    if not keys or not all(keys) or xml.child(root, "Quiet") not in (None, "true", "false"):
        raise malformed_xml()
    return keys


async def delete_objects(context: Context) -> Reply:
    keys = keys_to_delete(await context.xml_body())
    # Not commonpath: keys are texts, and a part of a segment in common is something in common.
    context.seen.prefix = os.path.commonprefix(keys)  # noqa: RUF071
    if len(keys) > MAX_DELETES:
        context.rules.refuse_if_on(answers.MALFORMED_XML)
    if not await context.store.has_bucket(context.request.bucket):
        raise no_such_bucket()
    # A key may come twice, and is deleted once.
    once = list(dict.fromkeys(keys))
    errors = dict(zip(once, await asyncio.gather(*(_delete_one(context, key) for key in once)), strict=True))
    parts: list[str] = []
    for key in keys:
        error = errors[key]
        if error is not None:
            details = (xml.text("Key", key), xml.text("Code", error.code), xml.text("Message", error.message))
            parts.append(xml.element("Error", *details))
        else:
            # In quiet mode too: R2 reads the word and forgets it.
            parts.append(xml.element("Deleted", xml.text("Key", key)))
    return xml_reply("DeleteResult", parts)


async def _delete_one(context: Context, key: str) -> R2Error | None:
    bucket = context.request.bucket
    try:
        check_key(key, context.rules)
        context.throttle.begin(bucket, key, context.request.connection, context.rules)
        try:
            await context.store.delete(bucket, key, no_check)
        finally:
            context.throttle.end(bucket, key)
    except R2Error as error:
        return error
    return None
