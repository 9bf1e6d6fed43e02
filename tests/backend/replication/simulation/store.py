"""One Machine's way to the simulated bucket: requests that take time, get lost, come late, or are refused for now."""

from __future__ import annotations

import asyncio
import datetime
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from app.replication.errors import FileExists, StoreError
from app.replication.layout import FileRef, highest
from app.replication.store import Listed, NewFile
from app.storage.interface import ObjectInfo, PreconditionFailed, StorageUnavailable
from app.storage.retry import Policy, TryAgain

if TYPE_CHECKING:
    from tests.backend.replication.simulation.world import Bucket, Machine

# What R2 asks for with a 429.
_RETRY_AFTER = 5.0
_DEADLINE = 2.0
_ATTEMPTS, _SECONDS = 3, 25.0


class SimulatedStore:
    """A `ReplicaStore`: a few tries a call, with waits as the retry policy of the real client has them. ``calls``
    counts what was asked."""

    def __init__(self, bucket: Bucket, machine: Machine) -> None:
        self.bucket, self.machine = bucket, machine
        self.calls = 0
        self._lists: list[tuple[float, float]] = []
        self._policy = Policy(_ATTEMPTS, _SECONDS, jitter=bucket.rnd.uniform)

    async def create(self, file: NewFile) -> float:
        name = file.ref.name
        accepted, date = await self._call("PUT", lambda: self.bucket.create(name, file.data), name)
        if not accepted:
            raise FileExists(name)
        return date

    async def probe(self, ref: FileRef) -> tuple[bytes | None, float]:
        stored, date = await self._call("GET", lambda: self.bucket.objects.get(ref.name))
        return (stored.data if stored else None), date

    async def list(self) -> Listed:
        refs, date = await self._call("LIST", self.bucket.refs)
        self._lists.append((asyncio.get_running_loop().time(), date))
        return Listed(refs, date)

    def slept_past(self, retention: float) -> bool:
        """Whether a list that may still be in use, because it came in the last minute, is older than the retention."""
        now = asyncio.get_running_loop().time()
        used = [date for at, date in self._lists if now - at < _SECONDS] or [date for _, date in self._lists[-1:]]
        return self.bucket.date - min(used, default=0.0) > retention

    async def recent(self, early: Callable[[Sequence[FileRef]], None] | None = None) -> Listed:
        if early is not None:
            early([ref for ref in (await self.list()).files if ref.level])
        listed = await self.list()
        reached = highest(ref for ref in listed.files if ref.level)
        return Listed([ref for ref in listed.files if ref.level or ref.max_txid > reached], listed.date)

    async def legacy(self) -> tuple[bytes, str] | None:
        stored, _ = await self._call("GET", lambda: self.bucket.objects.get("legacy"))
        return (stored.data, f"{zlib.crc32(stored.data):08x}") if stored else None

    async def legacy_etag(self) -> str | None:
        found = await self.legacy()
        return found[1] if found else None

    async def note_taken_over(self, etag: str) -> None:
        self.bucket.takers.add(self.machine.name)
        await self._call("PUT", lambda: self.bucket.create(f"taken-over/{etag}", b""))

    async def delete(self, refs: Sequence[FileRef]) -> None:
        for ref in refs:
            await self._call("DELETE", lambda: self.bucket.delete(ref.name))  # noqa: B023

    async def _call(self, operation: str, act: Callable[[], Any], writes: str = "") -> tuple[Any, float]:
        """What ``act`` gives and the store's clock; ``writes`` names the object that it writes."""
        self.calls += 1
        end = self.machine.monotonic() + self._policy.seconds
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._try(operation, act, writes)
            except TryAgain as failure:
                try:
                    wait = self._policy.wait(attempt, failure, end - self.machine.monotonic())
                except StorageUnavailable as error:
                    raise StoreError(str(error)) from error
                await self.machine.sleep(wait)

    async def _try(self, operation: str, act: Callable[[], Any], writes: str) -> tuple[Any, float]:
        rnd, faults, loop = self.bucket.rnd, self.bucket.faults, asyncio.get_running_loop()
        arrived: asyncio.Future[tuple[Any, float]] = loop.create_future()

        def commit() -> None:
            # The request is on the wire: it lands whether or not the Machine that sent it still lives.
            refused = bool(writes) and self.bucket.too_soon(writes)
            answer = (TryAgain("429", _RETRY_AFTER) if refused else act(), self.bucket.date)
            if not arrived.done():
                arrived.set_result(answer)

        there, back = (rnd.uniform(*faults.latency) / 2 for _ in range(2))
        kind = rnd.random()
        if kind < faults.error or operation in self.bucket.down:
            await self.machine.sleep(there + back)
            raise TryAgain("503")
        kind -= faults.error
        if kind < faults.rate_limit:
            await self.machine.sleep(there + back)
            raise TryAgain("429", _RETRY_AFTER)
        kind -= faults.rate_limit
        if kind < faults.lost_request:
            await self.machine.sleep(_DEADLINE)
            raise TryAgain("no answer")
        kind -= faults.lost_request
        if writes and kind < faults.late_commit:
            loop.call_later(_DEADLINE + rnd.uniform(0, 8), commit)
            await self.machine.sleep(_DEADLINE)
            raise TryAgain("no answer")
        loop.call_later(there, commit)
        answer, date = await arrived
        await self.machine.sleep(back)
        if rnd.random() < faults.lost_answer:
            await self.machine.sleep(_DEADLINE)
            raise TryAgain("the answer was lost")
        if isinstance(answer, TryAgain):
            raise answer
        return answer, date


class SimulatedObjects:
    """The same bucket as the object store that a deletion works on."""

    def __init__(self, store: SimulatedStore, folder: str) -> None:
        self._store, self._folder = store, folder
        self._date = 0.0

    async def list(self, prefix: str, *, limit: int | None = None, after: str = "") -> list[ObjectInfo]:
        def act() -> list[ObjectInfo]:
            found = self._store.bucket.objects.items()
            return [
                ObjectInfo(self._folder + name, len(stored.data), "", None, _utc(stored.ref))
                for name, stored in sorted(found)
                if (self._folder + name).startswith(prefix) and self._folder + name > after
            ]

        found, self._date = await self._call("LIST", act)
        return list(found)[:limit]

    async def put_bytes(self, key: str, data: bytes, *, if_none_match: bool = False, **_: Any) -> str:
        name, bucket = key.removeprefix(self._folder), self._store.bucket
        if if_none_match:
            accepted, self._date = await self._call("PUT", lambda: bucket.create(name, data), name)
            if not accepted:
                raise PreconditionFailed(name)
        else:
            _, self._date = await self._call("PUT", lambda: bucket.empty(name, data), name)
        return ""

    async def delete_many(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self._call("DELETE", lambda: self._store.bucket.delete(key.removeprefix(self._folder)))  # noqa: B023

    def date(self) -> float:
        return self._date

    sure_date = date

    async def _call(self, operation: str, act: Callable[[], Any], writes: str = "") -> tuple[Any, float]:
        try:
            return await self._store._call(operation, act, writes)
        except StoreError as error:
            raise StorageUnavailable(str(error)) from error


def _utc(ref: FileRef | None) -> datetime.datetime | None:
    return datetime.datetime.fromtimestamp(ref.modified, datetime.UTC) if ref else None
