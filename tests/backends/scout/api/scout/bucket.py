"""Objects of the bucket, with conditions. Absent, changed meanwhile and unreachable are three different errors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from scout.settings import BUCKET, MISTAKE

S3: Any = boto3.client(
    "s3",
    endpoint_url=os.environ["S3_ENDPOINT_URL"],
    region_name="auto",
    config=Config(
        connect_timeout=2,
        read_timeout=8,
        retries={"total_max_attempts": 3, "mode": "standard"},
        max_pool_connections=48,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    ),
)

_POOL = ThreadPoolExecutor(16, thread_name_prefix="bucket")
_READ: dict[tuple[str, str], Any] = {}
_MOST_READ = 5000


class Absent(Exception):
    """The bucket said that there is no such object."""


class Changed(Exception):
    """The object is not the one that the caller knows."""


class Unreachable(Exception):
    """The bucket failed, or did not answer: nothing is known."""


def ask(operation: str, **wanted: object) -> Any:
    try:
        return getattr(S3, operation)(Bucket=BUCKET, **wanted)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            raise Absent from None
        if status == 412:
            raise Changed from None
        raise Unreachable(f"{operation} answered {status} {error.response['Error'].get('Code')}") from error
    except BotoCoreError as error:
        raise Unreachable(f"{operation}: {error!r}") from error


def get(key: str) -> tuple[Any, str]:
    """A document and its ETag."""
    answer = ask("get_object", Key=key)
    try:
        return json.loads(answer["Body"].read()), answer["ETag"]
    except Exception as error:  # the body broke off
        raise Unreachable(f"get_object: {error!r}") from error


def put(key: str, document: Any, *, etag: str = "", new: bool = False, checksum: bool = False) -> str:
    """The ETag of what is stored now. ``etag``: only in place of that version; ``new``: only where there is none.
    ``checksum``: sent behind the body, as boto3 does by default since 1.36."""
    condition: dict[str, str] = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"} if new else {}
    if checksum:
        condition["ChecksumAlgorithm"] = "CRC32"
    body = json.dumps(document).encode()
    return str(ask("put_object", Key=key, Body=body, ContentType="application/json", **condition)["ETag"])


def listed(prefix: str) -> Iterator[tuple[str, str]]:
    """Key and ETag of every object below the prefix."""
    token: dict[str, str] = {}
    while True:
        page = ask("list_objects_v2", Prefix=prefix, **token)
        for one in page.get("Contents", ()):
            yield one["Key"], one["ETag"]
        if not page["IsTruncated"] or MISTAKE == "first_page_only":
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def documents(prefix: str) -> dict[str, Any]:
    """Every document below the prefix by its key. A version that was read once is not asked for again."""
    found = list(listed(prefix))
    unknown = [one for one in found if one not in _READ]

    def read(one: tuple[str, str]) -> None:
        try:
            document, etag = get(one[0])
        except Absent:  # deleted since it was listed
            return
        _READ[one[0], etag] = document
        if len(_READ) > _MOST_READ:
            _READ.pop(next(iter(_READ)), None)

    list(_POOL.map(read, unknown))
    return {key: _READ[key, etag] for key, etag in found if (key, etag) in _READ}
