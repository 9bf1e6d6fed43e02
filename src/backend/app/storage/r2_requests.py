"""Single requests to R2 as blocking calls, and the meaning of their answers."""

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from app import timestamps
from app.context import current_request_id
from app.settings import Settings
from app.storage import s3_answers
from app.storage.clock import StoreClock
from app.storage.interface import ObjectInfo, PreconditionFailed, StorageUnavailable
from app.storage.retry import TryAgain
from app.storage.s3_client import make_client
from app.storage.s3_errors import classify

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")
_WRITE_ID = "write-id"
_REQUEST = "app.request"
# After so many milliseconds without a call to R2, its open connections are closed. After a suspend of the Machine they
# may be dead without a sign ("may survive if the remote side keeps them open", fly.io/docs/reference/suspend-resume,
# 2025-08-15), and a call on a dead one waits for the whole R2_READ_SECONDS.
_IDLE_MS = 60_000


class Requests:
    """Its construction opens no connection. Methods raise botocore's errors unless they are run by `translated`."""

    def __init__(self, settings: Settings, connections: int) -> None:
        self.clock = StoreClock()
        self._settings = settings
        self._bucket = settings.r2_bucket
        self._connections = connections
        self._used = 0

    @cached_property
    def client(self) -> "S3Client":
        client = make_client(self._settings, self._connections)
        client.meta.events.register("before-call.s3", self._begin)
        client.meta.events.register("after-call.s3", self._note_date)
        client.meta.events.register("before-send.s3", _tell_request)
        return client

    def _begin(self, context: dict[str, Any], **_: Any) -> None:
        context[_REQUEST] = self.clock.ask()
        # By the wall clock: the monotonic one stands still in a suspend. Calls under way keep their connections.
        now = timestamps.unix_ms()
        if not 0 <= now - self._used < _IDLE_MS:
            self.client.close()
        self._used = now

    def _note_date(self, http_response: Any, context: dict[str, Any], **_: Any) -> None:
        """Read the Date header of every answer, including refusals."""
        with contextlib.suppress(ValueError):
            date = parsedate_to_datetime(http_response.headers.get("date", ""))
            self.clock.note(date.timestamp(), context[_REQUEST])

    def translated(self, what: str, work: Callable[[], T]) -> T:
        """Run `work` and translate botocore's errors to the store's; `TryAgain` for errors that a retry may cure."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            return work()
        except ClientError as error:
            raise classify(error.response, what) from error
        except (BotoCoreError, ResponseParserError, s3_answers.NotR2) as error:
            raise TryAgain(f"{what}: {error}") from error

    def marked_put(
        self, key: str, data: bytes, metadata: Mapping[str, str], conditions: Mapping[str, Any]
    ) -> Callable[[int], str]:
        """A function that makes the tries of one PUT; it takes the number of the try.

        A try whose answer was lost may have written the object. Then the next try gets a 412 because of our own write,
        which a mark in the object's metadata reveals.
        """
        mark = secrets.token_hex(16)
        kept = {**metadata, _WRITE_ID: mark}

        def put(attempt: int) -> str:
            try:
                return self._put(key, data, kept, conditions)
            except PreconditionFailed:
                if attempt == 1:
                    raise
                found = self._head_marked(key)
                if found is None or found[0] != mark:
                    raise
                return found[1]

        return put

    def _put(self, key: str, data: bytes, metadata: Mapping[str, str], conditions: Mapping[str, Any]) -> str:
        return self.translated(
            f"PUT {key}",
            lambda: s3_answers.etag(
                self.client.put_object(Bucket=self._bucket, Key=key, Body=data, Metadata=metadata, **conditions)
            ),
        )

    def _head_marked(self, key: str) -> tuple[str | None, str] | None:
        try:
            found = self.translated(f"HEAD {key}", lambda: self.client.head_object(Bucket=self._bucket, Key=key))
        except StorageUnavailable:
            return None
        return found.get("Metadata", {}).get(_WRITE_ID), s3_answers.etag(found)

    def head(self, key: str) -> ObjectInfo:
        """The attributes of an object."""
        from botocore.exceptions import ClientError

        try:
            return s3_answers.info(key, self.client.head_object(Bucket=self._bucket, Key=key))
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                raise
        # HEAD has no body: a missing object and a missing bucket look alike. GET tells them apart.
        found = self.client.get_object(Bucket=self._bucket, Key=key)
        found["Body"].close()
        return s3_answers.info(key, found)

    def delete_some(self, keys: Sequence[str], _: int) -> None:
        """Delete up to a thousand objects."""
        objects: Any = [{"Key": key} for key in keys]
        done = self.client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
        if done.get("Errors"):
            first = done["Errors"][0]
            raise TryAgain(f"DELETE {first.get('Key')}: {first.get('Code')}")

    def page(self, parameters: dict[str, Any], _: int) -> Any:
        """One page of a listing."""
        return s3_answers.page(self.client.list_objects_v2(**parameters), self._bucket)

    def put_part(self, path: Path, start: int, size: int, key: str, upload_id: str, number: int, _: int) -> str:
        """The ETag of a part that is read from a file."""
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(size)
        return s3_answers.etag(
            self.client.upload_part(Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=data)
        )


def _tell_request(request: Any, **_: Any) -> None:
    """Add the id of the current API request as a header, after signing, so that the signature does not cover it."""
    if (request_id := current_request_id()) is not None:
        request.headers["x-request-id"] = request_id
