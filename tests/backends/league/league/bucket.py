"""The bucket: films and tables of results."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

NAME = os.environ["BUCKET_NAME"]
ERRORS = (BotoCoreError, ClientError)


@cache
def client() -> Any:
    return boto3.client(
        "s3",
        endpoint_url=os.environ["BUCKET_URL"],
        region_name="auto",
        config=Config(
            connect_timeout=3,
            read_timeout=10,
            retries={"total_max_attempts": 3, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def store(key: str, data: bytes, kind: str) -> None:
    client().put_object(Bucket=NAME, Key=key, Body=data, ContentType=kind)


def fetch(key: str) -> bytes:
    return bytes(client().get_object(Bucket=NAME, Key=key)["Body"].read())


def remove(key: str) -> None:
    client().delete_object(Bucket=NAME, Key=key)


def reachable() -> None:
    client().head_bucket(Bucket=NAME)
