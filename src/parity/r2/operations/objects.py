"""PutObject, CopyObject, GetObject, HeadObject, DeleteObject, DeleteObjects."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from dataclasses import replace
from email.utils import parsedate_to_datetime

from parity.r2 import answers, xml
from parity.r2.conditions import (
    destination_check,
    http_date,
    range_of,
    read_check,
    source_check,
    unlisted_check,
    write_check,
)
from parity.r2.errors import (
    R2Error,
    invalid_argument,
    invalid_bucket_name,
    invalid_request,
    malformed_xml,
    no_such_bucket,
)
from parity.r2.headers import (
    attributes,
    check_customer_key,
    check_key,
    check_metadata,
    customer_key,
    customer_key_headers,
    response_headers,
)
from parity.r2.lifecycle import expiration_header
from parity.r2.operations.context import Context
from parity.r2.reply import Headers, Reply, xml_reply
from parity.r2.request import decode_text, parse_query
from parity.r2.sniff import LENGTH, content_type
from parity.r2.store.interface import Attributes, Change, Check, Checksum, ObjectInfo, no_check

MAX_DELETES = 1000
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
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
    kept = attributes(context.request, context.rules)
    check = write_check(context.request.headers, context.rules)
    await create_missing_bucket(context)
    body = await context.body()
    request = context.request
    kept = replace(kept, checksum=body.checksum)
    if "content-type" not in kept.headers and context.rules.holds(42):
        start = next(body.content.blocks(0, min(LENGTH, body.content.size)), b"")
        kept = replace(kept, headers={**kept.headers, "content-type": content_type(start)})
    info = await context.store.put(request.bucket, request.key, body.content, body.etag, kept, context.guarded(check))
    headers = [("ETag", f'"{info.etag}"'), *checksum_headers(info.attributes.checksum)]
    headers += customer_key_headers(info.attributes.customer_key)
    return Reply(200, [*headers, *expiration_header(context.configured.lifecycle(request.bucket), info)])


async def create_missing_bucket(context: Context) -> None:
    """R2's extension: an upload may ask R2 to create a missing bucket. Raises rule 15 for a token without that
    permission."""
    request = context.request
    if request.headers.get("cf-create-bucket-if-missing") != "true" or not context.rules.holds(41):
        return
    if await context.store.has_bucket(request.bucket):
        return
    if not context.authenticated.token.admin:
        context.rules.refuse_if_on(answers.ACCESS)
    if not BUCKET_NAME.fullmatch(request.bucket):
        raise invalid_bucket_name()
    with contextlib.suppress(R2Error):
        # Another upload may have made it meanwhile.
        await context.store.create_bucket(request.bucket)


def checksum_headers(checksum: Checksum | None) -> Headers:
    if checksum is None or not checksum.value:
        return []
    return [(f"x-amz-checksum-{checksum.algorithm}", checksum.value), ("x-amz-checksum-type", checksum.kind)]


def checksum_elements(checksum: Checksum | None) -> list[str]:
    """For the documents that CopyObject and CompleteMultipartUpload answer."""
    if checksum is None or not checksum.value:
        return []
    name = f"Checksum{checksum.algorithm.upper()}"
    return [xml.text(name, checksum.value), xml.text("ChecksumType", checksum.kind)]


def copy_source(context: Context) -> tuple[str, str]:
    """Bucket and key of ``x-amz-copy-source``. Raises ``InvalidArgument``."""
    source = context.request.headers["x-amz-copy-source"]
    path, _, query = source.partition("?")
    if any(name == "versionId" for name, _ in parse_query(query)):
        context.rules.refuse_if_on(answers.HEADER, name="x-amz-copy-source", value=source)
    # Decoded before it is split, and a plus stays a plus, as in R2's simulator.
    bucket, _, key = decode_text(path).removeprefix("/").partition("/")
    if not bucket or not key:
        raise invalid_argument("copy source bucket name")
    return bucket, context.kept(key)


async def copy_object(context: Context) -> Reply:
    request, headers = context.request, context.request.headers
    change = _copy_change(context)
    source = copy_source(context)
    target = (request.bucket, request.key)
    unchanged = headers.get("x-amz-metadata-directive", "COPY") == "COPY" and "x-amz-storage-class" not in headers
    if source == target and unchanged:
        raise invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes."
        )
    await context.body()
    info = await context.store.copy(
        source,
        target,
        change,
        copied_check(context),
        context.guarded(destination_check(headers, context.rules)),
    )
    content = [xml.text("ETag", f'"{info.etag}"'), xml.text("LastModified", iso_date(info.modified))]
    content += checksum_elements(info.attributes.checksum)
    return xml_reply("CopyObjectResult", content, customer_key_headers(info.attributes.customer_key))


def copied_check(context: Context) -> Check:
    """The check on the source of a copy: its conditions and its customer key."""
    headers, rules = context.request.headers, context.rules
    given, check = customer_key(headers, rules, "x-amz-copy-source-"), source_check(headers, rules)

    def both(found: ObjectInfo | None) -> None:
        check_customer_key(found.attributes.customer_key if found else "", given, rules)
        check(found)

    return both


def _check_read(context: Context, info: ObjectInfo) -> None:
    """The checks of a GET or HEAD."""
    headers = context.request.headers
    check_customer_key(info.attributes.customer_key, customer_key(headers, context.rules), context.rules)
    read_check(headers, context.rules, info)


def _copy_change(context: Context) -> Change:
    """A function from the source's attributes to the target's, chosen by ``x-amz-metadata-directive``."""
    request = context.request
    directive = request.headers.get("x-amz-metadata-directive", "COPY")
    if directive not in ("COPY", "REPLACE", "MERGE") or (directive == "MERGE" and not context.rules.holds(37)):
        raise invalid_argument(f"metadata directive {directive}.")
    asked = attributes(request, context.rules)
    storage_class = request.headers.get("x-amz-storage-class")

    def change(source: Attributes) -> Attributes:
        kept = source.headers if directive in ("COPY", "MERGE") else {}
        replaced = asked.headers if directive in ("REPLACE", "MERGE") else {}
        headers = {**kept, **replaced}
        check_metadata(headers, context.rules)
        default = source.storage_class if directive != "REPLACE" else "STANDARD"
        return replace(asked, headers=headers, storage_class=storage_class or default, checksum=source.checksum)

    return change


def _object_headers(context: Context, info: ObjectInfo, *, whole: bool) -> Headers:
    overrides = {
        header: context.request.params[parameter]
        for parameter, header in _OVERRIDES.items()
        if parameter in context.request.params
    }
    headers = [
        (name, value) for name, value in response_headers(info.attributes, context.rules) if name not in overrides
    ]
    headers += overrides.items()
    headers += [
        ("ETag", f'"{info.etag}"'),
        ("Last-Modified", http_date(info.modified)),
        ("Accept-Ranges", "bytes"),
        *customer_key_headers(info.attributes.customer_key),
        *expiration_header(context.configured.lifecycle(context.request.bucket), info),
    ]
    if context.request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and whole:
        headers += checksum_headers(info.attributes.checksum)
    return headers


async def get_object(context: Context) -> Reply:
    request = context.request
    if "partNumber" in request.params:
        return await _get_part(context)
    # With If-Range the object must be read before it is known whether the range applies.
    wanted_range = request.header("range") if "if-range" not in request.headers else None
    info, read = await context.store.open(request.bucket, request.key, wanted_range)
    _check_read(context, info)
    wanted = range_of(request.headers, info, context.rules)
    headers = _object_headers(context, info, whole=wanted is None)
    if wanted is not None:
        headers.append(("Content-Range", wanted.header))
        return Reply(206, headers, read(wanted.start, wanted.length), wanted.length)
    return Reply(200, headers, read(0, info.size), info.size)


async def _get_part(context: Context) -> Reply:
    """One part of an object by its number, as a range, with the number of parts in a header."""
    request = context.request
    info, read = await context.store.open(request.bucket, request.key)
    _check_read(context, info)
    start, length, headers = _part(context, info)
    return Reply(206, headers, read(start, length), length)


def _part(context: Context, info: ObjectInfo) -> tuple[int, int, Headers]:
    """The offset and length of the requested part, and its response headers."""
    number, sizes = context.number("partNumber", 1), info.part_sizes or (info.size,)
    if not 1 <= number <= len(sizes):
        raise R2Error(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
    start, length = sum(sizes[: number - 1]), sizes[number - 1]
    headers = _object_headers(context, info, whole=False)
    if length:
        headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{info.size}"))
    if info.part_sizes:
        headers.append(("x-amz-mp-parts-count", str(len(sizes))))
    return start, length, headers


async def head_object(context: Context) -> Reply:
    request = context.request
    info = await context.store.head(request.bucket, request.key)
    _check_read(context, info)
    if "partNumber" in request.params:
        _, length, headers = _part(context, info)
        return Reply(206, headers, length=length)
    honoured = context.rules.choices.head_range == "honour"
    wanted = range_of(request.headers, info, context.rules) if honoured else None
    headers = _object_headers(context, info, whole=wanted is None)
    if wanted is not None:
        headers.append(("Content-Range", wanted.header))
        return Reply(206, headers, length=wanted.length)
    return Reply(200, headers, length=info.size)


async def delete_object(context: Context) -> Reply:
    request = context.request
    await context.store.delete(
        request.bucket, request.key, context.guarded(unlisted_check(request.headers, context.rules))
    )
    return Reply(204)


def keys_to_delete(body: bytes) -> list[str]:
    """The keys of a DeleteObjects. Raises ``MalformedXML``."""
    root = xml.parse(body, "Delete")
    # Not stripped, because a key may begin or end with a space, or be a single space.
    keys = [found.findtext("Key") or "" for found in root.findall("Object")]
    if not keys or not all(keys) or xml.child(root, "Quiet") not in (None, "true", "false"):
        raise malformed_xml()
    return keys


async def delete_objects(context: Context) -> Reply:
    keys = keys_to_delete(await context.xml_body())
    # Not `commonpath`, which compares whole segments: keys may share part of a segment.
    context.seen.prefix = os.path.commonprefix(keys)  # noqa: RUF071
    if len(keys) > MAX_DELETES:
        context.rules.refuse_if_on(answers.MALFORMED_XML)
    if not await context.store.has_bucket(context.request.bucket):
        raise no_such_bucket()
    # A key that is listed twice is deleted once.
    once = list(dict.fromkeys(map(context.kept, keys)))
    errors = dict(zip(once, await asyncio.gather(*(_delete_one(context, key) for key in once)), strict=True))
    parts: list[str] = []
    for key in keys:
        error = errors[context.kept(key)]
        if error is not None:
            details = (xml.text("Key", key), xml.text("Code", error.code), xml.text("Message", error.message))
            parts.append(xml.element("Error", *details))
        else:
            # Also in quiet mode: R2 accepts the element and ignores it.
            parts.append(xml.element("Deleted", xml.text("Key", key)))
    return xml_reply("DeleteResult", parts)


async def _delete_one(context: Context, key: str) -> R2Error | None:
    bucket = context.request.bucket
    try:
        check_key(key, context.rules)
        context.throttle.begin(bucket, key, context.request.connection, context.rules)
        try:
            await context.store.delete(bucket, key, context.guarded(no_check))
        finally:
            context.throttle.end(bucket, key)
    except R2Error as error:
        return error
    return None
