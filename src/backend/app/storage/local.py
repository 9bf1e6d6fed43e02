"""Objects as files, for development without R2: the same interface, conditions included.

Presigned URLs point back at the application (`app.routes.local_objects`) and carry an HMAC made with a key of this
process, so they end with it.
"""

import asyncio
import fcntl
import hashlib
import hmac
import mimetypes
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote, urlencode

from app.storage.interface import (
    InvalidRequest,
    ObjectBytes,
    ObjectInfo,
    ObjectMissing,
    PreconditionFailed,
    PresignedPut,
    StorageUnavailable,
    UploadedPart,
)

T = TypeVar("T")
PATH_PREFIX = "/api/local-objects/"


class LocalStore:
    """See `app.storage.interface.ObjectStore`."""

    def __init__(self, root: Path, base_url: str, presign_seconds: int) -> None:
        self._objects = root / "objects"
        self._uploads = root / "uploads"
        self._lock = root / "lock"
        self._base_url = base_url
        self._presign_seconds = presign_seconds
        self._secret = secrets.token_bytes(32)

    async def head(self, key: str) -> ObjectInfo:
        return await _in_thread(lambda: self._info(key))

    async def get_bytes(self, key: str) -> ObjectBytes:
        def read() -> ObjectBytes:
            with self._open(key) as file:
                return ObjectBytes(file.read(), _etag(os.fstat(file.fileno())))

        return await _in_thread(read)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        def read() -> bytes:
            with self._open(key) as file:
                if start < 0 or length < 1 or start >= os.fstat(file.fileno()).st_size:
                    raise InvalidRequest(f"{key}: no bytes {start} to {start + length - 1}")
                file.seek(start)
                return file.read(length)

        return await _in_thread(read)

    async def download(self, key: str, path: Path) -> ObjectInfo:
        def copy() -> ObjectInfo:
            info = self._info(key)
            _replace(path, lambda part: shutil.copyfile(self._path(key), part))
            return info

        return await _in_thread(copy)

    async def upload(self, path: Path, key: str, content_type: str) -> str:  # noqa: ARG002 - told by the name here
        return await _in_thread(lambda: self._store(key, lambda part: shutil.copyfile(path, part)))

    async def put_bytes(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,  # noqa: ARG002 - nothing reads it from local files
    ) -> str:
        def put() -> str:
            with self._locked():
                try:
                    found: str | None = self._info(key).etag
                except ObjectMissing:
                    found = None
                if (if_none_match and found is not None) or (if_match is not None and found != if_match):
                    raise PreconditionFailed(f"{key} has the ETag {found}")
                return self._store(key, lambda part: part.write_bytes(data))

        return await _in_thread(put)

    def date(self) -> float:
        return time.time()

    def sure_date(self) -> float:
        return time.time()

    async def delete(self, key: str) -> None:
        await _in_thread(lambda: self._path(key).unlink(missing_ok=True))

    async def delete_many(self, keys: Sequence[str]) -> None:
        def delete() -> None:
            for key in keys:
                self._path(key).unlink(missing_ok=True)

        await _in_thread(delete)

    async def delete_prefix(self, prefix: str) -> int:
        _check_folder(prefix)
        found = await _in_thread(lambda: self._below(prefix))
        await self.delete_many(found)
        return len(found)

    async def list(self, prefix: str, *, limit: int | None = None, after: str = "") -> Sequence[ObjectInfo]:
        def found() -> Sequence[ObjectInfo]:
            keys = [key for key in self._below(prefix) if key > after]
            return [self._info(key) for key in keys[:limit]]

        return await _in_thread(found)

    async def list_folders(self, prefix: str) -> Sequence[str]:
        _check_folder(prefix)

        def folders() -> Sequence[str]:
            rests = (key.removeprefix(prefix) for key in self._below(prefix))
            return sorted({rest.split("/")[0] for rest in rests if "/" in rest})

        return await _in_thread(folders)

    async def presign_get(self, key: str, *, filename: str | None = None) -> str:
        return self._sign("GET", key, {} if filename is None else {"filename": filename})

    async def presign_put(self, key: str, content_type: str, size: int) -> PresignedPut:
        url = self._sign("PUT", key, {"content_type": content_type, "size": str(size), "create": "1"})
        return PresignedPut(url, {"Content-Type": content_type, "If-None-Match": "*"})

    async def create_multipart(self, key: str, content_type: str) -> str:  # noqa: ARG002 - told by the name here
        upload_id = secrets.token_hex(16)
        await _in_thread(lambda: self._upload_folder(key, upload_id).mkdir(parents=True))
        return upload_id

    async def presign_parts(self, key: str, upload_id: str, sizes: Sequence[int]) -> Sequence[str]:
        return [
            self._sign("PUT", key, {"upload_id": upload_id, "part_number": str(number), "size": str(size)})
            for number, size in enumerate(sizes, 1)
        ]

    async def complete_multipart(self, key: str, upload_id: str, parts: Sequence[UploadedPart]) -> str:
        def complete() -> str:
            folder = self._upload_folder(key, upload_id)
            if not folder.is_dir():
                raise ObjectMissing(f"{key}: no upload {upload_id}")
            files = [folder / str(part.number) for part in sorted(parts, key=lambda part: part.number)]
            _check_parts(key, files, sorted(parts, key=lambda part: part.number))

            def join(target: Path) -> None:
                with target.open("wb") as joined:
                    for file in files:
                        with file.open("rb") as part:
                            shutil.copyfileobj(part, joined)

            etag = self._store(key, join)
            shutil.rmtree(folder)
            return etag

        return await _in_thread(complete)

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        await _in_thread(lambda: shutil.rmtree(self._upload_folder(key, upload_id), ignore_errors=True))

    async def probe(self) -> None:
        await _in_thread(lambda: self._objects.mkdir(parents=True, exist_ok=True))

    async def close(self) -> None:
        return None

    def verify(self, method: str, key: str, query: dict[str, str]) -> None:
        """Raises PermissionError when a URL was not signed by this process for this method, or has expired."""
        given = dict(query)
        signature = given.pop("signature", "")
        if not hmac.compare_digest(signature, self._signature(method, key, given)):
            raise PermissionError("The signature does not match")
        if int(given["expires"]) < time.time():
            raise PermissionError("The URL has expired")

    def incoming(self, key: str, query: dict[str, str]) -> Callable[[Callable[[Path], object]], str]:
        """The target for the body of a verified PUT. The returned function takes a writer of a file and returns the new
        ETag."""
        if "upload_id" not in query:
            if "create" in query and self._path(key).exists():
                raise PreconditionFailed(f"{key}: there is an object already")
            return lambda write: self._store(key, write)
        folder = self._upload_folder(key, query["upload_id"])
        if not folder.is_dir():
            raise ObjectMissing(f"{key}: no upload {query['upload_id']}")
        part = folder / query["part_number"]

        def store(write: Callable[[Path], object]) -> str:
            _replace(part, write)
            return _etag(part.stat())

        return store

    def file(self, key: str) -> Path:
        """The file of an object; raises `ObjectMissing`."""
        self._info(key)
        return self._path(key)

    def _sign(self, method: str, key: str, query: dict[str, str]) -> str:
        signed = {**query, "expires": str(int(time.time()) + self._presign_seconds)}
        signed["signature"] = self._signature(method, key, signed)
        return f"{self._base_url}{PATH_PREFIX}{quote(key)}?{urlencode(signed)}"

    def _signature(self, method: str, key: str, query: dict[str, str]) -> str:
        text = "\n".join([method, key, urlencode(sorted(query.items()))])
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def _path(self, key: str) -> Path:
        path = self._objects / key
        if not key or key.endswith("/") or ".." in key.split("/") or not path.is_relative_to(self._objects):
            raise InvalidRequest(f"{key!r} is no key")
        return path

    def _upload_folder(self, key: str, upload_id: str) -> Path:
        digest = hashlib.sha256(f"{key}\n{upload_id}".encode()).hexdigest()
        return self._uploads / digest[:40]

    def _info(self, key: str) -> ObjectInfo:
        path = self._path(key)
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissing(key) from None
        if not path.is_file():
            raise ObjectMissing(key)
        modified = datetime.fromtimestamp(stat.st_mtime, UTC)
        return ObjectInfo(key, stat.st_size, _etag(stat), mimetypes.guess_type(path.name)[0], modified)

    @contextmanager
    def _open(self, key: str) -> Iterator[BinaryIO]:
        self._info(key)
        with self._path(key).open("rb") as file:
            yield file

    def _below(self, prefix: str) -> Sequence[str]:
        folder = self._objects / prefix.rpartition("/")[0]
        files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(key for path in files if (key := path.relative_to(self._objects).as_posix()).startswith(prefix))

    def _store(self, key: str, write: Callable[[Path], object]) -> str:
        path = self._path(key)
        _replace(path, write)
        return _etag(path.stat())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise StorageUnavailable(str(error)) from error


def _etag(stat: os.stat_result) -> str:
    # Every write makes a new file, so this differs between any two contents.
    return f'"{stat.st_mtime_ns:x}-{stat.st_ino:x}-{stat.st_size:x}"'


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _check_folder(prefix: str) -> None:
    if not prefix.endswith("/"):
        raise InvalidRequest(f"{prefix!r} does not end in a slash")


def _check_parts(key: str, files: Sequence[Path], parts: Sequence[UploadedPart]) -> None:
    """R2's rules: every part exists with its ETag, all but the last have the same size, and the last is no larger."""
    if not parts:
        raise InvalidRequest(f"{key}: no parts were given")
    for file, part in zip(files, parts, strict=True):
        if not file.is_file() or _etag(file.stat()).strip('"') != part.etag.strip('"'):
            raise InvalidRequest(f"{key}: part {part.number} was not uploaded, or is not the one with that ETag")
    sizes = [file.stat().st_size for file in files]
    if any(size != sizes[0] for size in sizes[:-1]) or sizes[-1] > sizes[0]:
        raise InvalidRequest(f"{key}: all parts but the last must have the same length")
