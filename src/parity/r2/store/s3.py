"""An S3 endpoint as the store: versitygw for durability, or another one that the developer chooses.

The stand-in must be its only writer: checks are made under a lock of this process. Features that an upstream lacks are
missing in the stand-in too; ``docs/standins/r2-rules.md`` lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from parity.config.errors import ConfigError
from parity.r2.content import Content
from parity.r2.errors import R2Error, bucket_exists, no_such_bucket, no_such_key, upstream_failed
from parity.r2.settings import Upstream
from parity.r2.store.interface import (
    Attributes,
    BucketInfo,
    Change,
    Check,
    Checksum,
    ObjectInfo,
    Page,
    PartInfo,
    Read,
    UploadInfo,
    no_check,
)
from parity.r2.store.locks import KeyLocks
from parity.r2.store.pages import LAST
from parity.r2.store.s3_calls import Calls, RangePastEnd
from parity.r2.store.s3_form import arguments_of, body_of, info_of
from parity.r2.store.s3_opened import Opened, passed_on

# Keys that an upstream returns per list request.
_PAGE = 1000


class S3Store:
    """Each call is made by boto3 in a thread."""

    name = "s3"

    def __init__(self, upstream: Upstream, bucket: str) -> None:
        self._url = upstream.url
        self._own = {bucket}
        self._calls = Calls(upstream)
        self._call = self._calls.call
        self._locks = KeyLocks()
        # What an upstream does not return for uploads: their attributes, and the checksums of parts by upload and
        # number.
        self._uploads: dict[str, Attributes] = {}
        self._part_checksums: dict[tuple[str, int], str] = {}

    async def start(self) -> None:
        """Raises ``ConfigError`` when the upstream does not answer or refuses the credentials."""
        try:
            await self.buckets()
        except R2Error as error:
            raise ConfigError(
                "PARITY_R2_UPSTREAM_URL",
                f"{self._url} cannot be used: {error.message}",
                "an S3 endpoint that answers to PARITY_R2_UPSTREAM_ACCESS_KEY_ID",
                "start it first; versitygw of this checkout: PARITY_R2_STORE=s3 docker compose --profile durable up",
            ) from None

    async def close(self) -> None:
        self._calls.close()

    async def reset(self) -> None:
        """Empty and remove the configured bucket and those made since the start. Other buckets of the upstream are not
        touched."""
        for bucket in sorted(self._own & {found.name for found in await self.buckets()}):
            page = await self.list_page(bucket, "", "", "", _PAGE)
            while page.objects:
                for info in page.objects:
                    await self._call("delete_object", Bucket=bucket, Key=info.key)
                page = await self.list_page(bucket, "", "", "", _PAGE)
            for upload in await self.uploads(bucket):
                await self.abort(bucket, upload.key, upload.id)
            await self.delete_bucket(bucket)

    async def buckets(self) -> list[BucketInfo]:
        answer = await self._call("list_buckets")
        return [BucketInfo(found["Name"], found["CreationDate"].timestamp()) for found in answer.get("Buckets", [])]

    async def create_bucket(self, bucket: str) -> None:
        if await self.has_bucket(bucket):
            raise bucket_exists()
        await self._call("create_bucket", Bucket=bucket)
        self._own.add(bucket)

    async def delete_bucket(self, bucket: str) -> None:
        await self._call("delete_bucket", Bucket=bucket)

    async def has_bucket(self, bucket: str) -> bool:
        return any(found.name == bucket for found in await self.buckets())

    async def head(self, bucket: str, key: str) -> ObjectInfo:
        async with self._locks.share(bucket, key):
            return await self._head(bucket, key)

    async def _head(self, bucket: str, key: str) -> ObjectInfo:
        found = await self._find(bucket, key)
        if found is None:
            raise no_such_key()
        return found

    async def _find(self, bucket: str, key: str) -> ObjectInfo | None:
        answer = await self._calls.head(bucket, key)
        if answer is not None:
            return info_of(key, answer)
        if not await self.has_bucket(bucket):
            raise no_such_bucket()
        return None

    async def open(self, bucket: str, key: str, wanted: str | None = None) -> tuple[ObjectInfo, Read]:
        """Use one GET for the attributes and the bytes, because the object may be replaced between two requests."""
        where = {"Bucket": bucket, "Key": key}
        # versitygw stores ETags beside its files, and during a write the two may belong to different versions.
        async with self._locks.share(bucket, key):
            try:
                answer = await self._call("get_object", **where, **passed_on(wanted))
            except RangePastEnd:
                # The caller decides whether that is an error, and needs the object's attributes for it.
                answer = await self._call("get_object", **where)
        opened = Opened(info_of(key, answer), answer, self._calls.run)
        return opened.info, opened.read

    async def put(
        self, bucket: str, key: str, content: Content, etag: str, attributes: Attributes, check: Check
    ) -> ObjectInfo:
        async with self._locks.hold(bucket, key):
            check(await self._find(bucket, key))
            await self._call(
                "put_object",
                Bucket=bucket,
                Key=key,
                Body=body_of(content),
                ContentLength=content.size,
                **arguments_of(attributes),
            )
            return _same(etag, await self._head(bucket, key))

    async def copy(
        self,
        source: tuple[str, str],
        target: tuple[str, str],
        change: Change,
        check_source: Check,
        check: Check,
    ) -> ObjectInfo:
        # Both keys are locked, always in the same order, so that the checked source is the one that is copied.
        async with AsyncExitStack() as held:
            for bucket, key in sorted({source, target}):
                await held.enter_async_context(self._locks.hold(bucket, key))
            found = await self._head(*source)
            check_source(found)
            check(await self._find(*target))
            await self._call(
                "copy_object",
                Bucket=target[0],
                Key=target[1],
                CopySource={"Bucket": source[0], "Key": source[1]},
                MetadataDirective="REPLACE",
                **arguments_of(change(found.attributes)),
            )
            return await self._head(*target)

    async def delete(self, bucket: str, key: str, check: Check) -> None:
        async with self._locks.hold(bucket, key):
            if check is not no_check:
                check(await self._find(bucket, key))
            await self._call("delete_object", Bucket=bucket, Key=key)

    async def reclassify(self, bucket: str, key: str, storage_class: str, check: Check) -> None:
        """Copy the object onto itself with the new class, which also changes its date."""

        def change(attributes: Attributes) -> Attributes:
            return replace(attributes, storage_class=storage_class)

        await self.copy((bucket, key), (bucket, key), change, no_check, check)

    async def list_page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        if limit <= 0:
            return Page([], [], "")
        limit = min(limit, _PAGE)
        optional = {"Delimiter": delimiter, "StartAfter": after}
        answer = await self._call(
            "list_objects_v2",
            Bucket=bucket,
            Prefix=prefix,
            MaxKeys=limit,
            **{name: value for name, value in optional.items() if value},
        )
        objects = [
            ObjectInfo(
                found["Key"],
                found["Size"],
                found["ETag"].strip('"'),
                found["LastModified"].timestamp(),
                Attributes(),
            )
            for found in answer.get("Contents", [])
        ]
        prefixes = [found["Prefix"] for found in answer.get("CommonPrefixes", [])]
        # Upstreams that compare only keys with the marker return the last page's common prefix again.
        again = [prefix for prefix in prefixes if after.startswith(prefix) and after != prefix]
        told = [prefix for prefix in prefixes if prefix not in again]
        # Move the marker by one more character, so that a page without new entries does not repeat without end.
        ends = [prefix + LAST for prefix in told] + ([after + LAST] if again else [])
        last = max([info.key for info in objects] + ends, default="")
        return Page(objects, told, last if answer.get("IsTruncated") else "")

    async def create_upload(self, bucket: str, key: str, attributes: Attributes) -> str:
        answer = await self._call("create_multipart_upload", Bucket=bucket, Key=key, **arguments_of(attributes))
        upload = str(answer["UploadId"])
        self._uploads[upload] = attributes
        return upload

    async def upload(self, bucket: str, key: str, upload: str) -> Attributes:
        """Only uploads since the start are known, because an upstream does not return an upload's attributes."""
        await self.parts(bucket, key, upload)
        return self._uploads.get(upload, Attributes())

    async def put_part(
        self, bucket: str, key: str, upload: str, number: int, content: Content, etag: str, checksum: Checksum | None
    ) -> PartInfo:
        arguments = {"Bucket": bucket, "Key": key, "UploadId": upload, "PartNumber": number}
        await self._call("upload_part", Body=body_of(content), ContentLength=content.size, **arguments)
        parts = await self.parts(bucket, key, upload)
        part = next((part for part in parts if part.number == number), None)
        if part is None or part.etag != etag:
            raise upstream_failed("upload_part: the part is not what was sent")
        self._part_checksums[upload, number] = checksum.value if checksum else ""
        return replace(part, checksum=self._part_checksums[upload, number])

    async def parts(self, bucket: str, key: str, upload: str) -> list[PartInfo]:
        found: list[PartInfo] = []
        marker = 0
        while True:
            answer = await self._call("list_parts", Bucket=bucket, Key=key, UploadId=upload, PartNumberMarker=marker)
            for part in answer.get("Parts", []):
                etag, modified = part["ETag"].strip('"'), part["LastModified"].timestamp()
                number = part["PartNumber"]
                checksum = self._part_checksums.get((upload, number), "")
                found.append(PartInfo(number, part["Size"], etag, modified, checksum))
            if not answer.get("IsTruncated") or not found:
                return found
            marker = found[-1].number

    async def complete(
        self,
        bucket: str,
        key: str,
        upload: str,
        parts: Sequence[PartInfo],
        etag: str,
        _checksum: Checksum | None,
        check: Check,
    ) -> ObjectInfo:
        async with self._locks.hold(bucket, key):
            check(await self._find(bucket, key))
            wanted = [{"PartNumber": part.number, "ETag": f'"{part.etag}"'} for part in parts]
            await self._call(
                "complete_multipart_upload",
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": wanted},
            )
            self._forget(upload)
            return _same(etag, await self._head(bucket, key))

    async def abort(self, bucket: str, key: str, upload: str) -> None:
        await self._call("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)
        self._forget(upload)

    def _forget(self, upload: str) -> None:
        self._uploads.pop(upload, None)
        for place in [place for place in self._part_checksums if place[0] == upload]:
            del self._part_checksums[place]

    async def uploads(self, bucket: str) -> list[UploadInfo]:
        found: list[UploadInfo] = []
        # URL-encoded, because a key may contain characters that XML cannot. boto3 asks for this itself only for
        # ListObjects.
        arguments: dict[str, Any] = {"Bucket": bucket, "EncodingType": "url", "MaxUploads": _PAGE}
        while True:
            answer = await self._call("list_multipart_uploads", **arguments)
            decode = unquote if answer.get("EncodingType") == "url" else str
            for upload in answer.get("Uploads", []):
                initiated = upload["Initiated"].timestamp()
                found.append(UploadInfo(upload["UploadId"], decode(upload["Key"]), initiated, Attributes()))
            if not answer.get("IsTruncated") or not answer.get("NextKeyMarker"):
                break
            arguments["KeyMarker"] = decode(answer["NextKeyMarker"])
            arguments["UploadIdMarker"] = answer.get("NextUploadIdMarker", "")
        return sorted(found, key=lambda info: (info.key, info.initiated))


def _same(etag: str, info: ObjectInfo) -> ObjectInfo:
    """Compare ETags: an upstream that changes bytes or invents ETags would break every condition on an ETag."""
    if info.etag != etag:
        raise upstream_failed(f"the upstream's ETag of {info.key} is {info.etag}, not {etag}")
    return info
