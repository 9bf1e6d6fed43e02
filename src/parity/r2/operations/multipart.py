"""Multipart uploads, with R2's own requirements for parts."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
from xml.etree import ElementTree

from parity.r2 import answers, xml
from parity.r2.body import Worker
from parity.r2.checksums import PART_TYPES, joined, named
from parity.r2.conditions import check_copy_range, parse_copy_range, write_check
from parity.r2.content import Content, ContentWriter
from parity.r2.errors import R2Error, invalid_argument, invalid_request, malformed_xml
from parity.r2.headers import attributes, check_customer_key, customer_key, customer_key_headers
from parity.r2.operations.context import Context
from parity.r2.operations.objects import checksum_elements, copied_check, copy_source, create_missing_bucket, iso_date
from parity.r2.reply import Headers, Reply, xml_reply
from parity.r2.rules import Rulebook
from parity.r2.store.interface import Checksum, ObjectInfo, PartInfo, no_check

MIN_PART = 5 << 20
MAX_PARTS = 10_000
# Setting → answer to a part that a Complete names twice.
DUPLICATE_PARTS = {"problem": answers.DUPLICATE_PART, "not-found": answers.UNKNOWN_PART}


async def create_upload(context: Context) -> Reply:
    request = context.request
    checksum = _checksum_of_upload(request.headers, context.rules)
    kept = replace(attributes(request, context.rules), checksum=checksum)
    await create_missing_bucket(context)
    await _check_now(context)
    upload = await context.store.create_upload(request.bucket, request.key, kept)
    content = [xml.text("Bucket", request.bucket), xml.text("Key", request.key), xml.text("UploadId", upload)]
    headers: Headers = customer_key_headers(kept.customer_key)
    if checksum is not None:
        headers += [
            ("x-amz-checksum-algorithm", checksum.algorithm.upper()),
            ("x-amz-checksum-type", checksum.kind),
        ]
    return xml_reply("InitiateMultipartUploadResult", content, headers)


def _checksum_of_upload(headers: Mapping[str, str], rules: Rulebook) -> Checksum | None:
    """The checksum algorithm and type given to CreateMultipartUpload. Raises rule 39."""
    algorithm = headers.get("x-amz-checksum-algorithm", "").lower()
    kind = headers.get("x-amz-checksum-type", "").upper()
    if not algorithm:
        if kind:
            raise invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )
        return None
    if algorithm not in PART_TYPES:
        rules.refuse_if_on(
            answers.CHECKSUM_TYPE, name="x-amz-checksum-algorithm", value=headers["x-amz-checksum-algorithm"]
        )
        return None
    if kind and kind != PART_TYPES[algorithm]:
        rules.refuse_if_on(answers.CHECKSUM_TYPE, name="x-amz-checksum-type", value=headers["x-amz-checksum-type"])
    return Checksum(algorithm, "", PART_TYPES[algorithm])


async def _check_now(context: Context) -> None:
    """Check the conditions of a CreateMultipartUpload as well (rule 40). Raises rule 16."""
    check = write_check(context.request.headers, context.rules)
    if check is no_check or not context.rules.holds(40):
        return
    found: ObjectInfo | None = None
    with contextlib.suppress(R2Error):
        found = await context.store.head(context.request.bucket, context.request.key)
    check(found)


def _part_number(context: Context) -> int:
    """Raises rule 18, and rule 27 for a value that is not a number, for which R2 finds no route."""
    text = context.param("partNumber")
    if not text.strip() and "partNumber" in context.request.params:
        context.rules.refuse_if_on(answers.PART_NUMBER)
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        context.rules.refuse_if_on(answers.ROUTE)
        raise invalid_argument("Part number must be an integer.")
    if not 1 <= int(text) <= MAX_PARTS:
        context.rules.refuse_if_on(answers.PART_NUMBER)
    return int(text)


async def upload_part(context: Context) -> Reply:
    request, number = context.request, _part_number(context)
    upload = context.param("uploadId")
    for name in named(request.headers):
        if name in ("sha1", "sha256"):
            header = f"x-amz-checksum-{name}"
            context.rules.refuse_if_on(answers.PART_CHECKSUM, name=header, value=request.headers.get(header, ""))
    # Checked before the body is received, so that a client does not send a gigabyte to an upload that does not exist.
    begun = await context.store.upload(request.bucket, request.key, upload)
    of_upload = begun.checksum
    check_customer_key(begun.customer_key, customer_key(request.headers, context.rules), context.rules)
    body = await context.body()
    checksum = body.checksum
    kept = checksum if checksum and of_upload and checksum.algorithm == of_upload.algorithm else None
    part = await context.store.put_part(request.bucket, request.key, upload, number, body.content, body.etag, kept)
    headers = [("ETag", f'"{part.etag}"'), *customer_key_headers(begun.customer_key)]
    if checksum is not None:
        headers.append((f"x-amz-checksum-{checksum.algorithm}", checksum.value))
    return Reply(200, headers)


async def upload_part_copy(context: Context) -> Reply:
    request, number = context.request, _part_number(context)
    upload, source = context.param("uploadId"), copy_source(context)
    # The form of the part number is checked first, because R2 looks for the upload only afterwards.
    check_copy_range(request.header("x-amz-copy-source-range"), context.rules)
    await context.body()
    begun = await context.store.upload(request.bucket, request.key, upload)
    check_customer_key(begun.customer_key, customer_key(request.headers, context.rules), context.rules)
    info, read = await context.store.open(*source, request.header("x-amz-copy-source-range"))
    copied_check(context)(info)
    wanted = parse_copy_range(request.header("x-amz-copy-source-range"), info.size, context.rules)
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
    part = await context.store.put_part(request.bucket, request.key, upload, number, content, digest.hexdigest(), None)
    parts = [xml.text("ETag", f'"{part.etag}"'), xml.text("LastModified", iso_date(part.modified))]
    return xml_reply("CopyPartResult", parts, customer_key_headers(begun.customer_key))


class Requested(NamedTuple):
    """A part as CompleteMultipartUpload names it; ``checksums`` by algorithm, in base64."""

    number: int
    etag: str
    checksums: Mapping[str, str] = {}


def _requested_parts(root: ElementTree.Element) -> list[Requested]:
    found: list[Requested] = []
    for part in root.findall("Part"):
        number, etag = xml.child(part, "PartNumber"), xml.child(part, "ETag")
        if number is None or etag is None or not (number.isascii() and number.isdecimal()) or len(number) > 9:
            raise malformed_xml()
        told = {name: xml.child(part, f"Checksum{name.upper()}") for name in PART_TYPES}
        checksums = {name: value for name, value in told.items() if value is not None}
        found.append(Requested(int(number), etag.strip('"'), checksums))
    return found


def _check_numbers(numbers: Sequence[int], rules: Rulebook) -> None:
    """The checks on the list of parts that R2 makes before it looks for the upload. Raises rules 18, 19 and 27."""
    seen: set[int] = set()
    for number in numbers:
        if not 1 <= number <= MAX_PARTS:
            rules.refuse_if_on(answers.UNKNOWN_PART)
        if number in seen:
            rules.refuse_if_on(DUPLICATE_PARTS[rules.choices.duplicate_part])
        seen.add(number)
    if not numbers:
        rules.refuse_if_on(answers.MALFORMED_XML)
    if list(numbers) != sorted(numbers) and not rules.holds(19):
        # R2 sorts the parts; this is S3's error.
        Rulebook().refuse_if_on(answers.PART_ORDER)


def choose_parts(
    requested: Sequence[Requested], stored: Sequence[PartInfo], algorithm: str, rules: Rulebook
) -> list[PartInfo]:
    """The parts that a CompleteMultipartUpload names, in ascending order, after R2's checks. ``algorithm`` is the
    upload's checksum algorithm, or empty. Raises rules 17 and 18. Pure."""
    known = {part.number: part for part in stored}
    chosen: dict[int, PartInfo] = {}
    for wanted in sorted(requested, key=lambda part: part.number):
        part = known.get(wanted.number)
        told = wanted.checksums.get(algorithm, "")
        if part is None or part.etag != wanted.etag or (told and part.checksum and told != part.checksum):
            rules.refuse_if_on(answers.UNKNOWN_PART)
            continue
        chosen[wanted.number] = part
    parts = list(chosen.values())
    if any(part.size < MIN_PART for part in parts[:-1]):
        rules.refuse_if_on(answers.PART_TOO_SMALL)
    if len({part.size for part in parts[:-1]}) > 1 or (len(parts) > 1 and parts[-1].size > parts[0].size):
        rules.refuse_if_on(answers.UNEQUAL_PARTS)
    return parts


def joined_etag(parts: Sequence[PartInfo]) -> str:
    """The MD5 of the parts' MD5s, with their number."""
    digests = b"".join(bytes.fromhex(part.etag) for part in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


async def complete_upload(context: Context) -> Reply:
    request, upload = context.request, context.param("uploadId")
    # The document is parsed first, because R2 looks for the upload only afterwards. Checksum headers are the object's.
    document = await context.xml_body(checksums=False)
    requested = _requested_parts(xml.parse(document, "CompleteMultipartUpload"))
    _check_numbers([part.number for part in requested], context.rules)
    stored = await context.store.parts(request.bucket, request.key, upload)
    of_upload = (await context.store.upload(request.bucket, request.key, upload)).checksum
    chosen = choose_parts(requested, stored, of_upload.algorithm if of_upload else "", context.rules)
    checksum = joined(of_upload.algorithm, [(part.checksum, part.size) for part in chosen]) if of_upload else None
    _check_object(request.headers, checksum, context.rules)
    etag = joined_etag(chosen)
    try:
        info = await context.store.complete(
            request.bucket,
            request.key,
            upload,
            chosen,
            etag,
            checksum,
            context.guarded(write_check(request.headers, context.rules)),
        )
    except R2Error as error:
        if error.status == answers.PRECONDITION.status and context.rules.holds(40):
            # R2 treats the upload as aborted.
            await context.store.abort(request.bucket, request.key, upload)
            context.ended.add((request.bucket, request.key, upload))
        raise
    context.ended.add((request.bucket, request.key, upload))
    content = [
        xml.text("Location", request.raw_path),
        xml.text("Bucket", request.bucket),
        xml.text("Key", request.key),
        xml.text("ETag", f'"{info.etag}"'),
        *checksum_elements(info.attributes.checksum),
    ]
    return xml_reply("CompleteMultipartUploadResult", content)


def _check_object(headers: Mapping[str, str], checksum: Checksum | None, rules: Rulebook) -> None:
    """CompleteMultipartUpload may give the checksum of the whole object. Raises rule 22."""
    given = headers.get(f"x-amz-checksum-{checksum.algorithm}") if checksum else None
    if checksum is not None and given not in (None, checksum.value):
        rules.refuse_if_on(answers.BAD_DIGEST, name=checksum.algorithm.upper(), given=given, actual=checksum.value)


async def abort_upload(context: Context) -> Reply:
    request, upload = context.request, context.param("uploadId")
    place = (request.bucket, request.key, upload)
    try:
        await context.store.abort(*place)
    except R2Error as error:
        if error.code != answers.NO_UPLOAD.code or place not in context.ended or not context.rules.holds(50):
            raise
    context.ended.add(place)
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
