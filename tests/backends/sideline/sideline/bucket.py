"""The bucket: objects with conditions. Missing, changed meanwhile and unreachable are three different errors."""

from __future__ import annotations

import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sideline.settings import BUCKET

_CLIENT: Any = boto3.client(
    "s3",
    endpoint_url=os.environ["S3_URL"],
    aws_access_key_id=os.environ["S3_KEY"],
    aws_secret_access_key=os.environ["S3_SECRET"],
    region_name="auto",
    config=Config(
        connect_timeout=3,
        read_timeout=10,
        retries={"total_max_attempts": 3, "mode": "standard"},
        max_pool_connections=32,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    ),
)


class Missing(Exception):
    """There is no such object; the bucket said so."""


class Changed(Exception):
    """The object is another than the one that the caller knows."""


class Unreachable(Exception):
    """Nothing is known: the bucket failed or did not answer."""


def _ask(operation: str, **wanted: object) -> Any:
    try:
        return getattr(_CLIENT, operation)(Bucket=BUCKET, **wanted)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            raise Missing from None
        if status in (304, 412):
            raise Changed from None
        raise Unreachable(f"{operation}: {status}") from error
    except BotoCoreError as error:
        raise Unreachable(f"{operation}: {error!r}") from error


def fetch(key: str, unless: str = "") -> tuple[bytes, str]:
    """Body and ETag. Raises ``Changed`` when it is still the one with the ETag ``unless``."""
    answer = _ask("get_object", Key=key, **({"IfNoneMatch": unless} if unless else {}))
    try:
        return answer["Body"].read(), answer["ETag"]
    except Exception as error:  # urllib3's, where the body breaks off
        raise Unreachable(f"get_object: {error!r}") from error


def store(key: str, data: bytes, etag: str | None) -> str:
    """The new ETag. ``etag``: of the version that is replaced; empty: there must be none; None: whatever is there."""
    conditions = {} if etag is None else {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    return str(_ask("put_object", Key=key, Body=data, **conditions)["ETag"])


def size(key: str) -> int:
    return int(_ask("head_object", Key=key)["ContentLength"])


def remove(key: str) -> None:
    _ask("delete_object", Key=key)


def reachable() -> None:
    _ask("head_bucket")


def upload_url(key: str, kind: str, length: int) -> str:
    """For one PUT of exactly this type and length."""
    wanted = {"Bucket": BUCKET, "Key": key, "ContentType": kind, "ContentLength": length}
    return str(_CLIENT.generate_presigned_url("put_object", wanted, ExpiresIn=900))


def watch_url(key: str) -> str:
    return str(_CLIENT.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": key}, ExpiresIn=900))
