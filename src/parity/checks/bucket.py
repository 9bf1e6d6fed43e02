"""The bucket of the stack, as R2's stand-in shows it: past the rules and faults that the app meets."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from parity.checks.stack import Site, Stack, StackError
from parity.checks.verdict import NotShown

MOST = 100_000
# DeleteObjects takes no more at once.
AT_ONCE = 1000
# What the bucket holds while a check needs it empty.
SNAPSHOT = "before-the-empty-bucket"


@dataclass(frozen=True)
class Asked:
    """A request that R2 was sent: the S3 operation's name, the key (the prefix of a list), the status answered."""

    operation: str
    key: str
    status: int


@dataclass
class Bucket:
    """All methods raise ``StackError``."""

    stack: Stack

    async def objects(self, prefix: str = "") -> dict[str, str]:
        """Keys with their ETags."""
        found = await self.stack.admin("GET", f"/r2/objects?limit={MOST}&prefix={quote(prefix)}")
        return {entry["key"]: entry["etag"] for entry in found["objects"]}

    async def read(self, key: str) -> bytes:
        """An object's bytes."""
        url = f"{self.stack.target.admin_url}/r2/object?key={quote(key, safe='')}"
        try:
            answer = await self.stack.http.get(url)
        except httpx.HTTPError as error:
            raise StackError(f"the admin API does not answer GET /r2/object: {error!r}") from None
        if answer.is_error:
            raise StackError(f"admin GET /r2/object {key}: {answer.status_code} {answer.text[:300]}")
        return answer.content

    async def put(self, key: str, data: bytes) -> None:
        """Put an object there with the app's own credentials, by S3: R2's rules and faults hold for it."""
        await self._s3("put_object", Key=key, Body=data)

    async def delete(self, keys: Sequence[str]) -> None:
        for first in range(0, len(keys), AT_ONCE):
            objects = [{"Key": key} for key in keys[first : first + AT_ONCE]]
            await self._s3("delete_objects", Delete={"Objects": objects, "Quiet": True})

    @asynccontextmanager
    async def emptied(self) -> AsyncIterator[None]:
        """The bucket with nothing in it; as before afterwards. Raises ``NotShown`` where the store keeps no snapshots.

        A file says that the bucket is empty on purpose: should this process be killed, the next run restores it.
        """
        await self.restore_emptied()
        try:
            await self.stack.admin("POST", "/r2/snapshot", {"name": SNAPSHOT})
        except StackError as error:
            raise NotShown(
                f"this store keeps no snapshots, and the bucket must not be emptied for good: {error}"
            ) from None
        self._note.parent.mkdir(parents=True, exist_ok=True)
        self._note.touch()
        try:
            await self.stack.admin("POST", "/r2/reset")
            yield
        finally:
            await asyncio.shield(self.restore_emptied())

    async def restore_emptied(self) -> None:
        """What the bucket held before ``emptied``, where that was not restored yet."""
        if self._note.exists():
            await self.stack.admin("POST", "/r2/restore", {"name": SNAPSHOT})
            self._note.unlink()

    @property
    def _note(self) -> Path:
        return self.stack.site.project.settings.state_dir / "checks" / "bucket-emptied"

    async def requests(self, prefix: str = "") -> list[Asked]:
        """What R2 was asked about keys below ``prefix``, oldest first; the newest 20,000."""
        found = (await self.stack.admin("GET", f"/r2/requests?limit=20000&prefix={quote(prefix)}"))["requests"]
        ordered = sorted(found, key=lambda entry: float(entry["time"]))
        return [Asked(entry["operation"], entry["key"], int(entry["status"] or 0)) for entry in ordered]

    async def _s3(self, operation: str, **wanted: Any) -> None:
        # Half a second of imports that most checks need not spend.
        from botocore.exceptions import BotoCoreError, ClientError

        def work() -> None:
            getattr(_s3_client(self.stack.site), operation)(Bucket=self.stack.site.project.bucket, **wanted)

        try:
            await asyncio.to_thread(work)
        except (BotoCoreError, ClientError) as error:
            raise StackError(f"{operation} at {self.stack.target.r2_url}: {error}") from None


@functools.lru_cache(maxsize=1)
def _s3_client(site: Site) -> Any:
    import boto3
    from botocore.config import Config

    access = site.project.r2
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
        endpoint_url=site.target.r2_url,
        region_name="auto",
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        verify=str(site.target.ca) if site.target.ca else None,
        config=config,
    )
