"""The bucket as its owner reaches it, by S3: for what neither the product nor the admin API does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from parity.checks.model import Unobservable
from parity.config.project import Project

if TYPE_CHECKING:
    from parity.stack.target import Target

# DeleteObjects takes no more at once.
AT_ONCE = 1000


class Bucket:
    """Methods raise ``Unobservable``."""

    def __init__(self, project: Project, target: Target) -> None:
        self._project, self._target = project, target

    @cached_property
    def _client(self) -> Any:
        # Half a second that most runs of a single check need not spend.
        import boto3
        from botocore.config import Config

        r2 = self._project.r2
        config = Config(
            connect_timeout=5,
            read_timeout=20,
            retries={"total_max_attempts": 3, "mode": "standard"},
            proxies={},
            # What R2 takes; boto3's own defaults it refuses.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self._target.r2_url,
            region_name="auto",
            aws_access_key_id=r2.access_key_id,
            aws_secret_access_key=r2.secret_access_key,
            verify=str(self._target.ca) if self._target.ca else None,
            config=config,
        )

    async def put(self, key: str, data: bytes) -> None:
        await self._do("put_object", Key=key, Body=data)

    async def remove(self, keys: Sequence[str]) -> None:
        for first in range(0, len(keys), AT_ONCE):
            objects = [{"Key": key} for key in keys[first : first + AT_ONCE]]
            wanted = {"Objects": objects, "Quiet": True}
            await self._do("delete_objects", Delete=wanted)

    async def _do(self, operation: str, **wanted: Any) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        def work() -> None:
            getattr(self._client, operation)(Bucket=self._project.bucket, **wanted)

        try:
            await asyncio.to_thread(work)
        except (BotoCoreError, ClientError) as error:
            raise Unobservable(f"the bucket at {self._target.r2_url}: {error}") from None
