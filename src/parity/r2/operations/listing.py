"""ListObjects in both versions, ListMultipartUploads, ListBuckets."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

from parity.r2 import answers, xml
from parity.r2.errors import R2Error, invalid_argument, no_such_bucket
from parity.r2.operations.context import Context
from parity.r2.operations.objects import iso_date
from parity.r2.reply import Headers, Reply, xml_reply
from parity.r2.routes import is_ignored
from parity.r2.store.interface import ObjectInfo, Page, UploadInfo
from parity.r2.store.pages import LAST, next_marker

MAX_KEYS = 1000
_NUMBER = re.compile(r"\+?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_COMMON = {"prefix", "delimiter", "encoding-type", "max-keys", "list-type"}
_KNOWN = {
    "2": _COMMON | {"continuation-token", "start-after", "fetch-owner"},
    None: _COMMON | {"marker"},
}


def _screen(context: Context) -> bool:
    """Whether the request is ListObjectsV2. Raises rule 27 for a parameter that R2 does not know."""
    version = context.request.params.get("list-type")
    if version not in _KNOWN:
        raise R2Error(501, "NotImplemented", f"ListObjectsV{version} not implemented")
    if not version and "continuation-token" in context.request.params:
        raise invalid_argument("continuation-token not supported in ListObjects")
    for name in context.request.params:
        if name not in _KNOWN[version] and not is_ignored(name, context.rules):
            context.rules.refuse_if_on(answers.LIST_PARAMETER, operation=f"ListObjectsV{version or 1}", name=name)
    return version == "2"


def _encoder(context: Context) -> Callable[[str], str]:
    kind = context.request.params.get("encoding-type")
    if kind not in (None, "url"):
        raise R2Error(501, "NotImplemented", f'Unrecognized encoding-type "{kind}" not implemented')
    return (lambda key: quote(key, safe="-_.~")) if kind else (lambda key: key)


def _count(text: str | None) -> int:
    """``max-keys``: R2 accepts any number from 0, rounds it down, repeats it in the answer and lists at most 1000
    keys."""
    if text is None:
        return MAX_KEYS
    if not _NUMBER.fullmatch(text.strip()) or not math.isfinite(float(text)):
        raise R2Error(400, "InvalidMaxKeys", "MaxKeys params must be positive integer <= 1000.")
    return math.floor(float(text))


def encode_token(after: str) -> str:
    """An opaque continuation token, so that clients cannot build one by hand; R2's are opaque too."""
    return base64.urlsafe_b64encode(after.encode()).decode()


def decode_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise R2Error(400, "InvalidArgument", "The continuation token provided is incorrect") from None


async def list_objects(context: Context) -> Reply:
    modern, encode = _screen(context), _encoder(context)
    asked = _count(context.request.params.get("max-keys"))
    prefix, delimiter = context.param("prefix"), context.param("delimiter")
    token, start, marker = (context.param(name) for name in ("continuation-token", "start-after", "marker"))
    after = (decode_token(token) if token else start) if modern else marker
    if not modern and delimiter and marker.endswith(delimiter) and marker.startswith(prefix):
        # The marker may be a common prefix of the page before: every key under it was already listed.
        after = marker + LAST
    page = await context.store.list_page(
        context.request.bucket, context.kept(prefix), delimiter, context.kept(after), max(min(asked, MAX_KEYS), 1)
    )
    truncated = bool(page.next_after)
    if not asked:
        # Nothing is listed; the answer says only whether there is more.
        page, truncated = Page((), (), ""), bool(page.objects or page.prefixes)
    content = [xml.text("Name", context.request.bucket), xml.text("Prefix", encode(prefix))]
    if modern:
        content += [
            xml.text("KeyCount", len(page.objects) + len(page.prefixes)),
            *([xml.text("ContinuationToken", token)] if token else []),
            *([xml.text("StartAfter", encode(start))] if start else []),
            *([xml.text("NextContinuationToken", encode_token(page.next_after))] if page.next_after else []),
        ]
    else:
        content.append(xml.text("Marker", encode(marker)))
        if page.next_after:
            content.append(xml.text("NextMarker", encode(next_marker(page))))
    content += [
        xml.text("MaxKeys", asked),
        *([xml.text("Delimiter", encode(delimiter))] if delimiter else []),
        *([xml.text("EncodingType", "url")] if context.param("encoding-type") else []),
        xml.text("IsTruncated", "true" if truncated else "false"),
    ]
    return xml_reply("ListBucketResult", content + _entries(page, encode))


def _entries(page: Page, encode: Callable[[str], str]) -> list[str]:
    def entry(info: ObjectInfo) -> str:
        return xml.element(
            "Contents",
            xml.text("Key", encode(info.shown_key)),
            xml.text("Size", info.size),
            xml.text("LastModified", iso_date(info.modified)),
            xml.text("ETag", f'"{info.etag}"'),
            xml.text("StorageClass", info.attributes.storage_class),
        )

    prefixes = [xml.element("CommonPrefixes", xml.text("Prefix", encode(prefix))) for prefix in page.prefixes]
    return [entry(info) for info in page.objects] + prefixes


async def list_uploads(context: Context) -> Reply:
    request, encode = context.request, _encoder(context)
    prefix, delimiter = context.param("prefix"), context.param("delimiter")
    limit = min(context.number("max-uploads", MAX_KEYS), MAX_KEYS)
    key_marker, id_marker = context.param("key-marker"), context.param("upload-id-marker")
    kept_prefix, kept_marker = context.kept(prefix), context.kept(key_marker)
    found = [info for info in await context.store.uploads(request.bucket) if info.key.startswith(kept_prefix)]
    rest = _uploads_after(sorted(found, key=lambda info: info.key), kept_marker, id_marker)
    entries = _grouped(rest, kept_prefix, delimiter, kept_marker)
    page = entries[:limit]
    # An empty page has no marker from which the next page could continue.
    truncated = bool(page) and len(entries) > len(page)
    content = [
        xml.text("Bucket", request.bucket),
        xml.text("KeyMarker", encode(key_marker)),
        xml.text("UploadIdMarker", id_marker),
        xml.text("Prefix", encode(prefix)),
        xml.text("MaxUploads", limit),
        *([xml.text("EncodingType", "url")] if context.param("encoding-type") else []),
        xml.text("IsTruncated", "true" if truncated else "false"),
    ]
    if truncated:
        last = page[-1]
        key, id_ = (last, "") if isinstance(last, str) else (last.key, last.id)
        content += [xml.text("NextKeyMarker", encode(key)), xml.text("NextUploadIdMarker", id_)]
    content += [_upload(entry, encode) for entry in page if not isinstance(entry, str)]
    common = [entry for entry in page if isinstance(entry, str)]
    content += [xml.element("CommonPrefixes", xml.text("Prefix", encode(entry))) for entry in common]
    return xml_reply("ListMultipartUploadsResult", content)


def _uploads_after(found: Sequence[UploadInfo], key_marker: str, id_marker: str) -> list[UploadInfo]:
    """The uploads after the marker. The marker's own upload was listed; later uploads of the same key follow it."""
    told = [info.id for info in found if info.key == key_marker]
    skipped = set(told[: told.index(id_marker) + 1] if id_marker in told else told)
    return [info for info in found if info.key >= key_marker and info.id not in skipped]


def _grouped(uploads: Sequence[UploadInfo], prefix: str, delimiter: str, told: str) -> list[UploadInfo | str]:
    """Uploads in the order of their keys. Those that share a prefix up to the delimiter become one common prefix, which
    is left out when it equals ``told``, the last one of the page before."""
    entries: list[UploadInfo | str] = []
    for info in uploads:
        cut = info.key.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            entries.append(info)
            continue
        common = info.key[: cut + len(delimiter)]
        if common != told and (not entries or entries[-1] != common):
            entries.append(common)
    return entries


def _upload(info: UploadInfo, encode: Callable[[str], str]) -> str:
    return xml.element(
        "Upload",
        xml.text("Key", encode(info.shown_key)),
        xml.text("UploadId", info.id),
        xml.text("StorageClass", info.attributes.storage_class),
        xml.text("Initiated", iso_date(info.initiated)),
    )


async def list_buckets(context: Context) -> Reply:
    """R2 accepts the parameters of ListObjects, and headers that take precedence over them (rule 44)."""
    extended = context.rules.holds(44)

    def asked(name: str) -> str:
        return context.request.headers.get(f"cf-{name}", context.param(name)) if extended else ""

    prefix, start, token = asked("prefix"), asked("start-after"), asked("continuation-token")
    limit = _count(asked("max-keys") or None)
    after = decode_token(token) if token else start
    found = sorted(await context.store.buckets(), key=lambda bucket: bucket.name)
    rest = [bucket for bucket in found if bucket.name.startswith(prefix) and bucket.name > after]
    page = rest[: min(limit, MAX_KEYS)] if extended else rest
    entries = [
        xml.element("Bucket", xml.text("CreationDate", iso_date(bucket.created)), xml.text("Name", bucket.name))
        for bucket in page
    ]
    owner = xml.element("Owner", xml.text("DisplayName", "r2-standin"), xml.text("ID", "r2-standin"))
    content = [xml.element("Buckets", *entries), owner]
    headers: Headers = []
    if extended:
        truncated = len(rest) > len(page)
        content += [
            xml.text("IsTruncated", "true" if truncated else "false"),
            xml.text("KeyCount", len(page)),
            xml.text("MaxKeys", limit),
            *([xml.text("StartAfter", start)] if start else []),
            *([xml.text("ContinuationToken", token)] if token else []),
        ]
        headers.append(("cf-is-truncated", "true" if truncated else "false"))
        if truncated and page:
            following = encode_token(page[-1].name)
            content.append(xml.text("NextContinuationToken", following))
            headers.append(("cf-next-continuation-token", following))
    return xml_reply("ListAllMyBucketsResult", content, headers)


async def require_bucket(context: Context) -> None:
    if not await context.store.has_bucket(context.request.bucket):
        raise no_such_bucket()
