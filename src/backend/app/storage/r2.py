"""Objects in Cloudflare R2, by its S3 protocol."""

import asyncio
import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from app.settings import Settings
from app.storage import s3_answers
from app.storage.calls import Calls
from app.storage.file_thread import Body, file_thread
from app.storage.interface import (
    READS_AT_ONCE,
    InvalidRequest,
    ObjectBytes,
    ObjectInfo,
    ObjectMissing,
    PresignedPut,
    StorageUnavailable,
    UploadedPart,
)
from app.storage.keys import owner
from app.storage.r2_requests import Requests
from app.storage.retry import Policy, TryAgain

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")
_CHUNK = 1024 * 1024
# Larger objects use the transfer policy: over a slow link they may take longer than a request for a row may wait.
_SMALL = 4 * 1024 * 1024
_MAX_PARTS = 10_000
_MOST_DELETED = 1000
_IF_NONE = {"IfNoneMatch": "*"}

# Threads, and as many connections, for each kind of call, so that slow calls delay only their own kind. A profile whose
# reads hang takes half of the read threads, the next one half of the rest. Videos use other threads than rows.
_READS, _WRITES, _TRANSFERS = 2 * READS_AT_ONCE, 16, 8


class R2Store:
    """See `app.storage.interface.ObjectStore`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bucket = settings.r2_bucket
        self._small = Policy(settings.r2_attempts, settings.r2_total_seconds)
        self._large = Policy(settings.r2_attempts, settings.r2_transfer_seconds)
        self._reads = Calls("r2-read", _READS, fair=True)
        self._writes = Calls("r2-write", _WRITES)
        self._transfers = Calls("r2-transfer", _TRANSFERS)
        self._requests = Requests(settings, _READS + _WRITES + _TRANSFERS)

    @property
    def _client(self) -> "S3Client":
        return self._requests.client

    async def head(self, key: str) -> ObjectInfo:
        return await self._read(f"HEAD {key}", key, lambda _: self._requests.head(key))

    async def get_bytes(self, key: str) -> ObjectBytes:
        def ask() -> Any:
            return self._client.get_object(Bucket=self._bucket, Key=key)

        def small(_: int) -> Any:
            found = ask()
            with s3_answers.body(found):
                return found if s3_answers.field(found, "ContentLength") > _SMALL else s3_answers.whole(found)

        what = f"GET {key}"
        begun: Any = await self._read(what, key, small)
        if isinstance(begun, ObjectBytes):
            return begun
        # Only the answer shows that an object is large: its body is then read under the transfer policy.
        with s3_answers.body(begun):
            return await self._transfer(what, lambda attempt: s3_answers.whole(begun if attempt == 1 else ask()))

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        if start < 0 or length < 1:
            raise InvalidRequest(f"{key}: no bytes {start} to {start + length - 1}")
        wanted = f"bytes={start}-{start + length - 1}"
        return await self._read(
            f"GET {key}",
            key,
            lambda _: s3_answers.part(
                self._client.get_object(Bucket=self._bucket, Key=key, Range=wanted), start, length
            ),
        )

    async def download(self, key: str, path: Path) -> ObjectInfo:
        def download(_: int) -> ObjectInfo:
            found = self._client.get_object(Bucket=self._bucket, Key=key)
            part = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
            try:
                with s3_answers.body(found) as body:
                    info = s3_answers.info(key, found)
                    thread.check()
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with part.open("wb") as file:
                        for chunk in body.iter_chunks(_CHUNK):
                            thread.check()
                            file.write(chunk)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            return info

        async with file_thread() as thread:
            return await self._transfer(f"GET {key}", thread.wrap(download))

    async def upload(self, path: Path, key: str, content_type: str) -> str:
        size = path.stat().st_size
        if size >= self._settings.multipart_threshold_bytes:
            return await self._upload_parts(path, size, key, content_type)

        def put(_: int) -> str:
            with Body(path, thread) as body:
                return s3_answers.etag(
                    self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)
                )

        async with file_thread() as thread:
            return await self._transfer(f"PUT {key}", thread.wrap(put))

    async def put_bytes(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        conditions: dict[str, Any] = {}
        if if_match is not None:
            conditions["IfMatch"] = if_match
        if if_none_match:
            conditions |= _IF_NONE
        send = self._transfer if len(data) > _SMALL else self._write
        return await send(f"PUT {key}", self._requests.marked_put(key, data, metadata or {}, conditions))

    async def delete(self, key: str) -> None:
        await self._write(f"DELETE {key}", lambda _: self._client.delete_object(Bucket=self._bucket, Key=key))

    async def delete_many(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _MOST_DELETED):
            some = keys[start : start + _MOST_DELETED]
            await self._write(f"DELETE {some[0]}, …", functools.partial(self._requests.delete_some, some))

    async def delete_prefix(self, prefix: str) -> int:
        _check_folder(prefix)
        count = 0
        while found := await self.list(prefix, limit=_MOST_DELETED):
            await self.delete_many([item.key for item in found])
            count += len(found)
        return count

    async def list(self, prefix: str, *, limit: int | None = None, after: str = "") -> Sequence[ObjectInfo]:
        pages = await self._pages(prefix, None, limit, after)
        found = [_listed(item) for page in pages for item in page.get("Contents", [])]
        return found[:limit]

    async def list_folders(self, prefix: str) -> Sequence[str]:
        _check_folder(prefix)
        pages = await self._pages(prefix, "/", None)
        names = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
        return sorted(name.removeprefix(prefix).rstrip("/") for name in names)

    async def presign_get(self, key: str, *, filename: str | None = None) -> str:
        parameters: dict[str, Any] = {"Bucket": self._bucket, "Key": key}
        if filename is not None:
            parameters["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        (url,) = await self._presign("get_object", [parameters])
        return url

    async def presign_put(self, key: str, content_type: str, size: int) -> PresignedPut:
        # Clients send Content-Length themselves; in a browser, scripts cannot set it.
        signed = {"ContentType": content_type, "ContentLength": size, "IfNoneMatch": "*"}
        (url,) = await self._presign("put_object", [{"Bucket": self._bucket, "Key": key, **signed}])
        return PresignedPut(url, {"Content-Type": content_type, "If-None-Match": "*"})

    async def create_multipart(self, key: str, content_type: str) -> str:
        def create(_: int) -> str:
            answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=key, ContentType=content_type)
            return str(s3_answers.field(answer, "UploadId"))

        return await self._write(f"POST {key}?uploads", create)

    async def presign_parts(self, key: str, upload_id: str, sizes: Sequence[int]) -> Sequence[str]:
        common = {"Bucket": self._bucket, "Key": key, "UploadId": upload_id}
        parts = [{**common, "PartNumber": number, "ContentLength": size} for number, size in enumerate(sizes, 1)]
        return await self._presign("upload_part", parts)

    async def complete_multipart(self, key: str, upload_id: str, parts: Sequence[UploadedPart]) -> str:
        if not parts:
            raise InvalidRequest(f"{key}: no parts were given")
        listed: Any = [
            {"PartNumber": part.number, "ETag": part.etag} for part in sorted(parts, key=lambda part: part.number)
        ]

        def complete(attempt: int) -> str:
            try:
                return s3_answers.etag(
                    self._client.complete_multipart_upload(
                        Bucket=self._bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": listed}
                    )
                )
            except self._client.exceptions.NoSuchUpload:
                if attempt == 1:
                    raise
                return self._requests.head(key).etag  # the try whose answer was lost has completed it

        return await self._write(f"POST {key}?uploadId", complete)

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        try:
            await self._write(
                f"DELETE {key}?uploadId",
                lambda _: self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id),
            )
        except ObjectMissing:
            return

    def date(self) -> float:
        return self._requests.clock.newest

    def sure_date(self) -> float:
        return self._requests.clock.sure

    async def probe(self) -> None:
        # A list, because HEAD of a missing object looks the same with a missing bucket.
        await self._read("LIST", "", functools.partial(self._requests.page, {"Bucket": self._bucket, "MaxKeys": 1}))

    async def close(self) -> None:
        for calls in (self._reads, self._writes, self._transfers):
            calls.close()

    async def _read(self, what: str, key: str, work: Callable[[int], T]) -> T:
        return await self._reads.run(what, self._tries(what, work), self._small, owner(key))

    async def _write(self, what: str, work: Callable[[int], T]) -> T:
        return await self._writes.run(what, self._tries(what, work), self._small)

    async def _transfer(self, what: str, work: Callable[[int], T]) -> T:
        return await self._transfers.run(what, self._tries(what, work), self._large)

    def _tries(self, what: str, work: Callable[[int], T]) -> Callable[[int], T]:
        return lambda attempt: self._requests.translated(what, lambda: work(attempt))

    async def _pages(self, prefix: str, delimiter: str | None, limit: int | None, after: str = "") -> Sequence[Any]:
        pages: list[Any] = []
        parameters: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix}
        if delimiter is not None:
            parameters["Delimiter"] = delimiter
        if after:
            parameters["StartAfter"] = after
        if limit is not None:
            parameters["MaxKeys"] = min(limit, 1000)
        seen = 0
        while True:
            page: Any = await self._read(
                f"LIST {prefix}", prefix, functools.partial(self._requests.page, dict(parameters))
            )
            pages.append(page)
            seen += page["KeyCount"]
            if not page["IsTruncated"] or (limit is not None and seen >= limit):
                return pages
            parameters["ContinuationToken"] = page["NextContinuationToken"]

    async def _presign(self, operation: Any, parameters: Sequence[dict[str, Any]]) -> Sequence[str]:
        def sign() -> Sequence[str]:
            expires = self._settings.presign_seconds
            return [self._client.generate_presigned_url(operation, Params=one, ExpiresIn=expires) for one in parameters]

        try:
            # Signing makes no request. It runs in a thread only because the first use imports boto3 and makes the
            # client.
            return await asyncio.to_thread(self._requests.translated, "presign", sign)
        except TryAgain as failure:
            raise StorageUnavailable(str(failure)) from failure

    async def _upload_parts(self, path: Path, size: int, key: str, content_type: str) -> str:
        # R2 requires equal parts; each is large enough to keep their number within the limit.
        part_size = max(self._settings.part_bytes, -(-size // _MAX_PARTS))
        upload_id = await self.create_multipart(key, content_type)
        try:
            parts = []
            for number, start in enumerate(range(0, size, part_size), start=1):
                work = functools.partial(self._requests.put_part, path, start, part_size, key, upload_id, number)
                etag = await self._transfer(f"PUT {key}?partNumber={number}", work)
                parts.append(UploadedPart(number, etag))
            completing = asyncio.ensure_future(self.complete_multipart(key, upload_id, parts))
            try:
                return await asyncio.shield(completing)
            except asyncio.CancelledError:
                # The caller may delete the object. It must not be created after that.
                await asyncio.wait([completing])
                raise
        except BaseException:
            await self.abort_multipart(key, upload_id)
            raise


def _listed(item: Any) -> ObjectInfo:
    return ObjectInfo(item["Key"], item["Size"], item["ETag"], None, item.get("LastModified"))


def _check_folder(prefix: str) -> None:
    if not prefix.endswith("/"):
        raise InvalidRequest(f"{prefix!r} does not end in a slash")
