"""Calls to an S3 endpoint by boto3 in threads, with the upstream's errors translated to R2's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from parity.r2.errors import (
    R2Error,
    bucket_exists,
    bucket_not_empty,
    no_such_bucket,
    no_such_key,
    no_such_upload,
    upstream_failed,
)
from parity.r2.settings import Upstream

_THREADS = 32
_ERRORS: dict[str, Callable[[], R2Error]] = {
    "NoSuchBucket": no_such_bucket,
    "NoSuchKey": no_such_key,
    "NoSuchUpload": no_such_upload,
    "BucketAlreadyOwnedByYou": bucket_exists,
    "BucketAlreadyExists": bucket_exists,
    "BucketNotEmpty": bucket_not_empty,
}
# Bucket names that S3 allows. boto3 refuses others, and some upstreams interpret those as something else.
_BUCKET = re.compile(r"[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]")


class RangePastEnd(Exception):
    """The upstream's 416."""


class Calls:
    """``call`` and ``run`` raise ``R2Error``: the upstream's error where R2 has the same one, else
    ``InternalError``."""

    def __init__(self, upstream: Upstream) -> None:
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="r2-upstream")
        self._client = boto3.client(
            "s3",
            endpoint_url=upstream.url,
            aws_access_key_id=upstream.access_key,
            aws_secret_access_key=upstream.secret,
            region_name=upstream.region,
            config=Config(
                signature_version="s3v4",
                max_pool_connections=_THREADS,
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    async def run(self, name: str, work: Callable[[], Any]) -> Any:
        """Run ``work`` in a thread; ``name`` describes it in errors. Also raises ``RangePastEnd``."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "InvalidRange":
                raise RangePastEnd from None
            known = _ERRORS.get(code)
            raise known() if known else upstream_failed(f"{name}: {error}") from None
        except (BotoCoreError, ResponseParserError) as error:
            raise upstream_failed(f"{name}: {error}") from None

    async def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        if not _BUCKET.fullmatch(arguments.get("Bucket", "any")):
            raise no_such_bucket()
        method = getattr(self._client, operation)
        answer: dict[str, Any] = await self.run(operation, lambda: method(**arguments))
        return answer

    async def head(self, bucket: str, key: str) -> dict[str, Any] | None:
        """``None`` when the key or the bucket does not exist; HEAD's 404 has no body that would say which."""
        if not _BUCKET.fullmatch(bucket):
            return None

        def work() -> dict[str, Any] | None:
            try:
                return dict(self._client.head_object(Bucket=bucket, Key=key))
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return None
                raise

        answer: dict[str, Any] | None = await self.run("head_object", work)
        return answer

    def close(self) -> None:
        self._client.close()
        self._executor.shutdown()
