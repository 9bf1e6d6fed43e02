"""The whole stand-in from start to stop: store, front and saved state."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from parity.r2 import answers, cors
from parity.r2.content import BlobFolder
from parity.r2.errors import R2Error, no_such_key
from parity.r2.front import Front
from parity.r2.lifecycle import DAY, Lifecycle, aborts, expiry, turns_infrequent
from parity.r2.locks import guarded
from parity.r2.routes import Operation
from parity.r2.settings import R2Settings
from parity.r2.store.interface import ObjectInfo, Store
from parity.r2.store.moto import MotoStore
from parity.r2.store.persist import Saves, collect, install
from parity.r2.store.s3 import S3Store

T = TypeVar("T")
# Objects that a lifecycle run reads at a time.
_PAGE = 1000
_SNAPSHOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass
class LifecycleReport:
    """The keys that a run of the lifecycle rules affected; ``locked`` are keys that a lock protected from deletion."""

    deleted: list[str] = field(default_factory=list)
    infrequent: list[str] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    locked: list[str] = field(default_factory=list)


class SnapshotError(Exception):
    """A snapshot cannot be made or does not exist; the message says why."""


class Service:
    """Use ``running`` to make one. ``saves`` is ``None`` where nothing is saved: there is no state folder, or an
    upstream stores the objects."""

    def __init__(self, settings: R2Settings, store: Store, saves: Saves | None, folder: BlobFolder) -> None:
        self.settings, self.store, self.saves = settings, store, saves
        self.front = Front(settings, store, folder)
        self._saved_changes: tuple[int, str] | None = None
        # Why the last save failed; empty when it succeeded.
        self.save_problem = ""
        # Time in seconds since the epoch from which writes of the previous run may be missing.
        self.lost_since: float | None = None
        self._marked = False
        # The store's change counter at the last save or load.
        self._settled = 0
        self.front.before_answer = self._before_answer
        self._saving = asyncio.Lock()

    async def start(self) -> None:
        """Load the saved state, then create the bucket and set its policy where needed. Raises ``ConfigError`` for a
        broken save."""
        await self.store.start()
        state = None
        if self.saves is not None and isinstance(self.store, MotoStore):
            state = await _to_its_end(self.saves.load)
            if state is not None:
                install(self.store, self.front.configured, state)
                self._saved_changes = self._version()
            self._tell_of_lost_writes(self.saves)
        await self._ensure_bucket(applied=str(state["policy_source"]) if state else "")
        if isinstance(self.store, MotoStore):
            self._settled = self.store.changes

    def _tell_of_lost_writes(self, saves: Saves) -> None:
        """Warn about writes that were acknowledged and lost because the process was killed before a save."""
        self.lost_since = saves.unsaved_since()
        saves.unmark()
        if self.lost_since is not None:
            since = datetime.fromtimestamp(self.lost_since, UTC).isoformat(timespec="seconds")
            print(  # noqa: T201
                f"r2: the run before this one was killed: writes acknowledged since {since} may be missing\n"
                "  to do:    PARITY_R2_DURABLE=always makes each write durable before its answer",
                file=sys.stderr,
                flush=True,
            )

    async def _before_answer(self, operation: Operation) -> None:
        """Runs before the answer to an operation. Its change is saved to disk, or a marker says that unsaved changes
        exist.

        Raises ``OSError`` where neither can be done.
        """
        if self.saves is None or not isinstance(self.store, MotoStore):
            return
        if not operation.admin and self.store.changes == self._settled:
            return
        if self.settings.durable:
            await self.save()
        elif not self._marked:
            self.saves.mark_unsaved(time.time())
            self._marked = True

    async def _ensure_bucket(self, applied: str) -> None:
        """Create the bucket. The policy file is applied only if it changed since the last start, so a later
        PutBucketCors is kept."""
        bucket = self.settings.bucket
        if not await self.store.has_bucket(bucket):
            await self.store.create_bucket(bucket)
            applied = ""
        if self.settings.policy is not None and applied != self._policy_source():
            self.front.configured.cors[bucket] = self.settings.policy

    def _policy_source(self) -> str:
        return _digest([] if self.settings.policy is None else cors.to_json(self.settings.policy))

    def _version(self) -> tuple[int, str]:
        changes = self.store.changes if isinstance(self.store, MotoStore) else 0
        return changes, _digest(self.front.configured.to_json())

    async def disk_problem(self) -> str:
        """Why bodies cannot be written; empty when they can. After a failure each call tries again."""
        if self.front.disk_problem:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self.front.folder.probe, self.front.disk_wanted)
                self.front.disk_problem = ""
        return self.front.disk_problem

    async def save(self) -> bool:
        """Save if something changed since the last save; returns whether it did."""
        if self.saves is None or not isinstance(self.store, MotoStore):
            return False
        async with self._saving:
            version, began = self._version(), time.time()
            if version == self._saved_changes:
                return False
            state = collect(self.store, self.front.configured, self._policy_source())
            await _to_its_end(self.saves.save, state)
            self._saved_changes, self._settled, self.save_problem = version, version[0], ""
            if self._version() == version:
                self.saves.unmark()
                self._marked = False
            elif self._marked:
                self.saves.mark_unsaved(began)
        return True

    async def snapshot(self, name: str) -> None:
        """Save the current state as snapshot ``name``, replacing an older one. Raises ``SnapshotError``."""
        live, folder = self._snapshot_folder(name)
        store = self._moto()
        async with self._saving:
            state = collect(store, self.front.configured, self._policy_source())
            # Written beside the old one and renamed, so that a snapshot is complete or absent.
            part = folder.with_name(f".{folder.name}")
            shutil.rmtree(part, ignore_errors=True)
            saves = Saves(part)
            # Bodies are written to this folder first; the snapshot's files are hard links to them.
            await _to_its_end(live.file, state)
            await _to_its_end(saves.save, state)
            saves.keep()
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)

    async def restore(self, name: str) -> None:
        """Return to a snapshot; later writes are lost. Raises ``SnapshotError``."""
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
            self.front.configured.clear()
            if state is not None:
                install(store, self.front.configured, state)
        await self._ensure_bucket(applied=str(state["policy_source"]) if state else "")

    def snapshots(self) -> list[str]:
        if self.saves is None:
            return []
        folder = self.saves.folder / "snapshots"
        return sorted(path.name for path in folder.glob("[!.]*")) if folder.is_dir() else []

    def _snapshot_folder(self, name: str) -> tuple[Saves, Path]:
        """This store's saves, and the folder of the snapshot."""
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
        """Empty the bucket, set its configured policy, clear the request log and remove all faults."""
        await self.store.reset()
        self.front.configured.clear()
        self.front.seen.clear()
        self.front.faults.remove()
        await self._ensure_bucket(applied="")

    async def run_lifecycle(self, days: float) -> LifecycleReport:
        """Apply the lifecycle rules of every bucket as if ``days`` had passed; locks take precedence over rules."""
        now, report = time.time() + days * DAY, LifecycleReport()
        for bucket in await self.store.buckets():
            rules = self.front.configured.lifecycle(bucket.name)
            for upload in await self.store.uploads(bucket.name):
                if aborts(rules, upload, now):
                    await self.store.abort(bucket.name, upload.key, upload.id)
                    report.aborted.append(upload.key)
            after = ""
            while True:
                page = await self.store.list_page(bucket.name, "", "", after, _PAGE)
                for info in page.objects:
                    await self._age(bucket.name, info, rules, now, report)
                after = page.next_after
                if not after:
                    break
        return report

    async def _age(self, bucket: str, info: ObjectInfo, rules: Lifecycle, now: float, report: LifecycleReport) -> None:
        def unchanged(found: ObjectInfo | None) -> None:
            # An object that was written meanwhile is judged by its new date.
            if found is None or (found.etag, int(found.modified)) != (info.etag, int(info.modified)):
                raise no_such_key()

        check = guarded(unchanged, self.front.configured.locks.get(bucket, ()), now, self.front.rules)
        try:
            if expiry(rules, info)[0] <= now:
                await self.store.delete(bucket, info.key, check)
                report.deleted.append(info.key)
            elif turns_infrequent(rules, info, now):
                await self.store.reclassify(bucket, info.key, "STANDARD_IA", unchanged)
                report.infrequent.append(info.key)
        except R2Error as error:
            if error.code == answers.LOCKED.code:
                report.locked.append(info.key)
            elif error.status != 404:
                raise

    async def save_every(self, seconds: float) -> None:
        """Save periodically. A failed save is not final: a later one succeeds when, for example, a full disk has space
        again."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.save()
            except Exception as error:  # noqa: BLE001  # told on stderr and by /r2/healthz until a save holds
                self.save_problem = f"{type(error).__name__}: {error}"
                print(f"r2: what changed could not be saved: {self.save_problem}", file=sys.stderr, flush=True)  # noqa: T201


async def _to_its_end(work: Callable[..., T], *arguments: object) -> T:
    """Run in a thread and wait for its end even when the caller is cancelled, because two saves at once would corrupt
    each other."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


def _digest(plain: object) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@asynccontextmanager
async def running(settings: R2Settings) -> AsyncIterator[Service]:
    """A started service; its state is saved on exit."""
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
