"""The bucket's CORS policy, changed as a person with the admin's key would: through the S3 API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.checks.model import Unobservable
from parity.config.project import Project

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def _client(project: Project, url: str, ca: Path | None) -> S3Client:
    # Imported late: a quarter of a second that most checks need not spend.
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=5,
        read_timeout=20,
        retries={"total_max_attempts": 2},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="auto",
        aws_access_key_id=project.secrets["R2_ACCESS_KEY_ID"],
        aws_secret_access_key=project.secrets["R2_SECRET_ACCESS_KEY"],
        verify=str(ca) if ca else None,
        config=config,
    )


def configured_rules(project: Project) -> list[dict[str, object]]:
    """The rules of the checked-in policy."""
    rules: list[dict[str, object]] = json.loads(project.path(project.parity.r2.cors).read_text("utf-8"))["CORSRules"]
    return rules


async def put_cors(project: Project, url: str, ca: Path | None, rules: Sequence[Mapping[str, object]]) -> None:
    """Replace the bucket's policy. Raises ``Unobservable``."""
    from botocore.exceptions import BotoCoreError, ClientError

    def put() -> None:
        policy: Any = {"CORSRules": [dict(rule) for rule in rules]}
        _client(project, url, ca).put_bucket_cors(Bucket=project.bucket, CORSConfiguration=policy)

    try:
        await asyncio.to_thread(put)
    except (BotoCoreError, ClientError) as error:
        raise Unobservable(f"the bucket's CORS policy cannot be changed: {error}") from None
