"""The stack's bucket. Reads go through the stand-in's admin API, so the rules and faults for the app do not apply.

``put`` and ``delete`` use S3 with the app's credentials, so there they do apply.
"""

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
# DeleteObjects accepts at most so many keys in one request.
AT_ONCE = 1000
# The name of the snapshot of the bucket that is taken while a check needs it empty.
SNAPSHOT = "before-the-empty-bucket"


@dataclass(frozen=True)
class Asked:
    """A request that R2 received: the S3 operation, the key (for a list, the prefix), and the status of the answer."""

    operation: str
    key: str
    status: int


@dataclass
class Bucket:
    """Reads and changes the objects of the bucket. All methods raise ``StackError``."""

    stack: Stack

    async def objects(self, prefix: str = "") -> dict[str, str]:
        """The keys below ``prefix``, with their ETags."""
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
        """Put an object with the app's credentials, by S3: R2's rules and faults apply to the request."""
        await self._s3("put_object", Key=key, Body=data)

    async def delete(self, keys: Sequence[str]) -> None:
        for first in range(0, len(keys), AT_ONCE):
            objects = [{"Key": key} for key in keys[first : first + AT_ONCE]]
            await self._s3("delete_objects", Delete={"Objects": objects, "Quiet": True})

    @asynccontextmanager
    async def emptied(self) -> AsyncIterator[None]:
        """Empty the bucket, and restore its objects at the end. Raises ``NotShown`` where the store has no snapshots.

        A file records that the bucket was emptied, so that the next run restores it if this process is killed.
        """
        await self.restore_emptied()
        try:
            await self.stack.admin("POST", "/r2/snapshot", {"name": SNAPSHOT})
        except StackError as error:
            raise NotShown(
                f"this store has no snapshots, so an emptied bucket could not be restored: {error}"
            ) from None
        self._note.parent.mkdir(parents=True, exist_ok=True)
        self._note.touch()
        try:
            await self.stack.admin("POST", "/r2/reset")
            yield
        finally:
            await asyncio.shield(self.restore_emptied())

    async def restore_emptied(self) -> None:
        """Restore the objects from before ``emptied``, if that was not done yet."""
        if self._note.exists():
            await self.stack.admin("POST", "/r2/restore", {"name": SNAPSHOT})
            self._note.unlink()

    @property
    def _note(self) -> Path:
        return self.stack.site.project.settings.state_dir / "checks" / "bucket-emptied"

    async def requests(self, prefix: str = "") -> list[Asked]:
        """The newest 20,000 requests to R2 for keys below ``prefix``, oldest first."""
        found = (await self.stack.admin("GET", f"/r2/requests?limit=20000&prefix={quote(prefix)}"))["requests"]
        ordered = sorted(found, key=lambda entry: float(entry["time"]))
        return [Asked(entry["operation"], entry["key"], int(entry["status"] or 0)) for entry in ordered]

    async def _s3(self, operation: str, **wanted: Any) -> None:
        # Imported here because it takes half a second, and most checks do not need it.
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
        connect_timeout=30,
        read_timeout=20,
        retries={"total_max_attempts": 3, "mode": "standard"},
        proxies={},
        # R2 refuses the checksums that boto3 sends by default.
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
