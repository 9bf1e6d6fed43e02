"""Multipart uploads, with R2's own demands on parts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from xml.etree import ElementTree

from parity.r2 import answers, xml
from parity.r2.body import Worker
from parity.r2.conditions import parse_range, source_check, write_check
from parity.r2.content import Content, ContentWriter
from parity.r2.errors import invalid_argument, malformed_xml
from parity.r2.headers import attributes
from parity.r2.operations.context import Context
from parity.r2.operations.objects import copy_source, iso_date
from parity.r2.reply import Reply, xml_reply
from parity.r2.rules import Rulebook
from parity.r2.store.interface import PartInfo

MIN_PART = 5 << 20
MAX_PARTS = 10_000


async def create_upload(context: Context) -> Reply:
    request = context.request
    kept = attributes(request.headers, context.rules)
    upload = await context.store.create_upload(request.bucket, request.key, kept)
    content = [xml.text("Bucket", request.bucket), xml.text("Key", request.key), xml.text("UploadId", upload)]
    return xml_reply("InitiateMultipartUploadResult", content)


def _part_number(context: Context) -> int:
    """Raises rule 18, and rule 27 for what is no number: R2 finds no route for it."""
    text = context.param("partNumber")
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        context.rules.refuse_if_on(answers.ROUTE)
        raise invalid_argument("Part number must be an integer.")
    if not 1 <= int(text) <= MAX_PARTS:
        context.rules.refuse_if_on(answers.PART_NUMBER)
    return int(text)


async def upload_part(context: Context) -> Reply:
    request, number = context.request, _part_number(context)
    upload = context.param("uploadId")
    # Before the body: a client that sends a gigabyte to a wrong upload learns it at once.
    await context.store.parts(request.bucket, request.key, upload)
    body = await context.body()
    part = await context.store.put_part(request.bucket, request.key, upload, number, body.content, body.etag)
    return Reply(200, [("ETag", f'"{part.etag}"')])


async def upload_part_copy(context: Context) -> Reply:
    request, number = context.request, _part_number(context)
    upload, source = context.param("uploadId"), copy_source(context)
    await context.body()
    await context.store.parts(request.bucket, request.key, upload)
    info, read = await context.store.open(*source, request.header("x-amz-copy-source-range"))
    source_check(request.headers, context.rules)(info)
    wanted = parse_range(request.header("x-amz-copy-source-range"), info.size, context.rules)
    start, length = (wanted.start, wanted.length) if wanted else (0, info.size)
    writer = ContentWriter(context.folder)
    digest = hashlib.md5(usedforsecurity=False)

    def work(data: bytes) -> None:
        digest.update(data)
        writer.write(data)

    worker = Worker(work)
    try:
        async for block in read(start, length):
            await worker.take(block)
        await worker.finish()
        content: Content = writer.finish()
    finally:
        await worker.stop()
        writer.abandon()
    part = await context.store.put_part(request.bucket, request.key, upload, number, content, digest.hexdigest())
    parts = [xml.text("ETag", f'"{part.etag}"'), xml.text("LastModified", iso_date(part.modified))]
    return xml_reply("CopyPartResult", parts)


def _requested_parts(root: ElementTree.Element) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for part in root.findall("Part"):
        number, etag = xml.child(part, "PartNumber"), xml.child(part, "ETag")
        if number is None or etag is None or not (number.isascii() and number.isdecimal()) or len(number) > 9:
            raise malformed_xml()
        found.append((int(number), etag.strip('"')))
    return found


def choose_parts(requested: Sequence[tuple[int, str]], stored: Sequence[PartInfo], rules: Rulebook) -> list[PartInfo]:
    """The parts that a Complete names, in ascending order, after R2's checks. Raises rules 17, 18 and 19. Pure."""
    numbers = [number for number, _ in requested]
    if len(set(numbers)) != len(numbers):
        rules.refuse_if_on(answers.UNKNOWN_PART)
    if numbers != sorted(numbers) and not rules.holds(19):
        # R2 sorts them; this is the answer of S3.
        Rulebook().refuse_if_on(answers.PART_ORDER)
    known = {part.number: part for part in stored}
    chosen: list[PartInfo] = []
    for number, etag in sorted(set(requested)):
        part = known.get(number)
        if part is None or part.etag != etag:
            rules.refuse_if_on(answers.UNKNOWN_PART)
            continue
        chosen.append(part)
    if any(part.size < MIN_PART for part in chosen[:-1]):
        rules.refuse_if_on(answers.PART_TOO_SMALL)
    if len({part.size for part in chosen[:-1]}) > 1 or (len(chosen) > 1 and chosen[-1].size > chosen[0].size):
        rules.refuse_if_on(answers.UNEQUAL_PARTS)
    return chosen


def joined_etag(parts: Sequence[PartInfo]) -> str:
    """The MD5 of the parts' MD5s, with their number."""
    digests = b"".join(bytes.fromhex(part.etag) for part in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


async def complete_upload(context: Context) -> Reply:
    request, upload = context.request, context.param("uploadId")
    # The document first: R2 does not look for the upload before it is one.
    requested = _requested_parts(xml.parse(await context.xml_body(), "CompleteMultipartUpload"))
    if not requested:
        context.rules.refuse_if_on(answers.MALFORMED_XML)
    stored = await context.store.parts(request.bucket, request.key, upload)
    chosen = choose_parts(requested, stored, context.rules)
    check = write_check(request.headers, context.rules)
    info = await context.store.complete(request.bucket, request.key, upload, chosen, joined_etag(chosen), check)
    content = [
        xml.text("Location", request.raw_path),
        xml.text("Bucket", request.bucket),
        xml.text("Key", request.key),
        xml.text("ETag", f'"{info.etag}"'),
    ]
    return xml_reply("CompleteMultipartUploadResult", content)


async def abort_upload(context: Context) -> Reply:
    request = context.request
    await context.store.abort(request.bucket, request.key, context.param("uploadId"))
    return Reply(204)


async def list_parts(context: Context) -> Reply:
    request, upload = context.request, context.param("uploadId")
    limit = min(context.number("max-parts", 1000), 1000)
    marker = context.number("part-number-marker", 0)
    stored = await context.store.parts(request.bucket, request.key, upload)
    rest = [part for part in stored if part.number > marker]
    page = rest[:limit]
    content = [
        xml.text("Bucket", request.bucket),
        xml.text("Key", request.key),
        xml.text("UploadId", upload),
        xml.text("PartNumberMarker", marker),
        xml.text("MaxParts", limit),
        xml.text("IsTruncated", "true" if len(rest) > len(page) else "false"),
        xml.text("StorageClass", "STANDARD"),
    ]
    if len(rest) > len(page) and page:
        content.append(xml.text("NextPartNumberMarker", page[-1].number))
    for part in page:
        content.append(
            xml.element(
                "Part",
                xml.text("PartNumber", part.number),
                xml.text("LastModified", iso_date(part.modified)),
                xml.text("ETag", f'"{part.etag}"'),
                xml.text("Size", part.size),
            )
        )
    return xml_reply("ListPartsResult", content)
