"""The stand-in as a whole: store, front and saves, from start to stop."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from parity.r2 import cors
from parity.r2.content import BlobFolder
from parity.r2.cors import Policy
from parity.r2.front import Front
from parity.r2.settings import R2Settings
from parity.r2.store.interface import Store
from parity.r2.store.moto import MotoStore
from parity.r2.store.persist import Saves, collect, install
from parity.r2.store.s3 import S3Store

T = TypeVar("T")
_SNAPSHOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class SnapshotError(Exception):
    """A snapshot that cannot be made or is not there; the message says why."""


class Service:
    """Made by ``running``. ``saves`` is ``None`` where nothing is saved: no folder, or an upstream that keeps."""

    def __init__(self, settings: R2Settings, store: Store, saves: Saves | None, folder: BlobFolder) -> None:
        self.settings, self.store, self.saves = settings, store, saves
        self.front = Front(settings, store, folder)
        self._saved_changes: tuple[int, str] | None = None
        # What went wrong with the last save; empty when it held.
        self.save_problem = ""
        self._saving = asyncio.Lock()

    async def start(self) -> None:
        """Load what was saved, then see to the bucket and its policy. Raises ``ConfigError`` for a broken save."""
        await self.store.start()
        state = None
        if self.saves is not None and isinstance(self.store, MotoStore):
            state = await _to_its_end(self.saves.load)
            if state is not None:
                self.front.policies.update(install(self.store, state))
                self._saved_changes = self._version()
        await self._ensure_bucket(applied=str(state["policy_source"]) if state else "")

    async def _ensure_bucket(self, applied: str) -> None:
        """The policy file counts when it is another one than at the last start: a PutBucketCors since then stays."""
        bucket = self.settings.bucket
        if not await self.store.has_bucket(bucket):
            await self.store.create_bucket(bucket)
            applied = ""
        if self.settings.policy is not None and applied != self._policy_source():
            self.front.policies[bucket] = self.settings.policy

    def _policy_source(self) -> str:
        return _digest({} if self.settings.policy is None else {"": self.settings.policy})

    def _version(self) -> tuple[int, str]:
        changes = self.store.changes if isinstance(self.store, MotoStore) else 0
        return changes, _digest(self.front.policies)

    async def save(self) -> bool:
        """Save what changed since the last save; whether there was anything to save."""
        if self.saves is None or not isinstance(self.store, MotoStore):
            return False
        async with self._saving:
            version = self._version()
            if version == self._saved_changes:
                return False
            state = collect(self.store, self.front.policies, self._policy_source())
            await _to_its_end(self.saves.save, state)
            self._saved_changes, self.save_problem = version, ""
        return True

    async def snapshot(self, name: str) -> None:
        """Keep the state of this moment under ``name``, in place of what was there. Raises ``SnapshotError``."""
        live, folder = self._snapshot_folder(name)
        store = self._moto()
        async with self._saving:
            state = collect(store, self.front.policies, self._policy_source())
            # Beside the old one first: a snapshot is whole or not there.
            part = folder.with_name(f".{folder.name}")
            shutil.rmtree(part, ignore_errors=True)
            saves = Saves(part)
            # Bodies get their files here first: those of the snapshot are other names for them.
            await _to_its_end(live.file, state)
            await _to_its_end(saves.save, state)
            saves.keep()
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)

    async def restore(self, name: str) -> None:
        """Go back to a snapshot; what was written since is gone. Raises ``SnapshotError``."""
        live, folder = self._snapshot_folder(name)
        store = self._moto()
        if not folder.is_dir():
            raise SnapshotError(f"there is no snapshot {name!r}; there are: {', '.join(self.snapshots()) or 'none'}")
        snapshot = Saves(folder)
        async with self._saving:
            state = await _to_its_end(snapshot.load)
            snapshot.keep()
            if state is not None:
                await _to_its_end(live.take_over, state)
            await store.reset()
            self.front.policies.clear()
            if state is not None:
                self.front.policies.update(install(store, state))
        await self._ensure_bucket(applied=str(state["policy_source"]) if state else "")

    def snapshots(self) -> list[str]:
        if self.saves is None:
            return []
        folder = self.saves.folder / "snapshots"
        return sorted(path.name for path in folder.glob("[!.]*")) if folder.is_dir() else []

    def _snapshot_folder(self, name: str) -> tuple[Saves, Path]:
        """The saves of this store and where they have the snapshot."""
        if self.saves is None:
            raise SnapshotError("nothing is saved by this store: snapshots need the store moto and a state folder")
        if not _SNAPSHOT.fullmatch(name):
            raise SnapshotError(f"{name!r} cannot name a snapshot: letters, digits, - and _, at most 64")
        return self.saves, self.saves.folder / "snapshots" / name

    def _moto(self) -> MotoStore:
        if not isinstance(self.store, MotoStore):
            raise SnapshotError("an upstream keeps its own objects: snapshots need the store moto")
        return self.store

    async def reset(self) -> None:
        """An empty bucket with its configured policy; what was seen and the faults go too."""
        await self.store.reset()
        self.front.policies.clear()
        self.front.seen.clear()
        self.front.faults.remove()
        await self._ensure_bucket(applied="")

    async def save_every(self, seconds: float) -> None:
        """Whatever goes wrong with one save, a later one may hold: a disk that was full has room again."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.save()
            except Exception as error:  # noqa: BLE001  # told on stderr and by /r2/healthz until a save holds
                self.save_problem = f"{type(error).__name__}: {error}"
                print(f"r2: what changed could not be saved: {self.save_problem}", file=sys.stderr, flush=True)  # noqa: T201


async def _to_its_end(work: Callable[..., T], *arguments: object) -> T:
    """In a thread, and not left to itself when the caller is cancelled: two saves at once would tear each other."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


def _digest(policies: dict[str, Policy]) -> str:
    plain = {bucket: cors.to_json(policy) for bucket, policy in policies.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@asynccontextmanager
async def running(settings: R2Settings) -> AsyncIterator[Service]:
    """A started service; it is saved on the way out."""
    with tempfile.TemporaryDirectory(prefix="parity-r2-") as scratch:
        saves = Saves(settings.state) if settings.state is not None and settings.upstream is None else None
        folder = saves.blobs if saves is not None else BlobFolder(Path(scratch) / "blobs")
        store: Store = MotoStore() if settings.upstream is None else S3Store(settings.upstream, settings.bucket)
        service = Service(settings, store, saves, folder)
        await service.start()
        saver = asyncio.create_task(service.save_every(settings.save_seconds)) if settings.save_seconds else None
        try:
            yield service
        finally:
            if saver is not None:
                saver.cancel()
                await asyncio.gather(saver, return_exceptions=True)
            try:
                await service.save()
            finally:
                if saves is not None:
                    saves.keep()
                await service.store.close()
