"""Runs jobs with ffmpeg on this Machine, one at a time, because 512 MB are enough for only one encoder.

A preview of a long game may take an hour. It is encoded in pieces, so that an export or a clip can run between two of
them. Pausing ffmpeg was rejected because it keeps its memory, and restarting the preview because it loses its work.
"""

import asyncio
import errno
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.jobs.models import Job, JobKind
from app.services.pieces import Pieces, forget
from app.services.worker import Work, WorkFailed, delete_result, result_in_bucket
from app.storage.interface import ObjectStore
from app.storage.keys import pieces_folder
from reel.payloads import ExtractClip, RenderReel
from reel.render import extract_clip, render_reel
from reel.tools import Tools, find_tools

SPARE_BYTES: Final = 1024**3
"""What a source must leave of the disk, for databases and for what is encoded."""


@dataclass(frozen=True)
class _Disk:
    """The bucket as a `reel.render.MediaStore`. A source that the disk has no room for is refused before it fills the
    disk, because databases are on it too. A Machine on Fly has a disk of 8 GB, so larger games need Modal."""

    store: ObjectStore

    async def download(self, key: str, path: Path) -> None:
        size = (await self.store.head(key)).size
        free = shutil.disk_usage(path.parent).free - SPARE_BYTES
        if size > free:
            raise WorkFailed(
                f"The game's video has {size / 1e9:.1f} GB, and the Machine has {max(0, free) / 1e9:.1f} GB of disk for"
                " it: set MODAL_ENABLED=true, or upload a shorter recording"
            )
        await self.store.download(key, path)

    async def upload(self, path: Path, key: str, content_type: str) -> None:
        await self.store.upload(path, key, content_type)


class LocalWorker:
    """A Worker without Modal."""

    limit = 1

    def __init__(self, store: ObjectStore, folder: Path, deadline_s: float, release: str) -> None:
        self._release = release
        self._store = store
        self._disk = _Disk(store)
        self._folder = folder
        self._deadline_s = deadline_s
        # The lock is first in, first out: an export that arrived during a piece runs before the preview's next piece.
        self._turn = asyncio.Lock()
        self._preview = asyncio.Lock()

    async def run(self, work: Work) -> dict[str, Any]:
        # An earlier process may have stored the file and ended before it updated the row.
        if (stored := await result_in_bucket(self._store, work.job)) is not None:
            return stored
        tools = find_tools()
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{work.job.id}-", dir=self._folder) as name:
            folder = pieces_folder(work.job.payload["output_key"])
            kept = Pieces(self._store, f"{folder}{self._release}/")
            make = {JobKind.EXPORT: self._render, JobKind.EXTRACTION: self._cut, JobKind.PREVIEW: self._make_preview}
            try:
                made = await make[work.job.kind](work, Path(name), tools, kept)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                raise WorkFailed("The Machine's disk is full: try again when other jobs have ended") from error
            await forget(self._store, folder)
            return made

    async def _cut(self, work: Work, folder: Path, tools: Tools, kept: Pieces) -> dict[str, Any]:
        clip = ExtractClip.from_dict(work.job.payload)
        async with self._turn:
            made = await extract_clip(
                clip, self._disk, folder, tools=tools, deadline_s=self._deadline_s, report=work.report, kept=kept
            )
        return made.to_dict()

    async def _render(self, work: Work, folder: Path, tools: Tools, kept: Pieces) -> dict[str, Any]:
        reel = RenderReel.from_dict(work.job.payload)
        async with self._turn:
            made = await render_reel(
                reel, self._disk, folder, tools=tools, deadline_s=self._deadline_s, report=work.report, kept=kept
            )
        return made.to_dict()

    async def _make_preview(self, work: Work, folder: Path, tools: Tools, kept: Pieces) -> dict[str, Any]:
        clip = ExtractClip.from_dict(work.job.payload)
        async with self._preview:
            made = await extract_clip(
                clip,
                self._disk,
                folder,
                tools=tools,
                deadline_s=self._deadline_s,
                report=work.report,
                kept=kept,
                turn=lambda: self._turn,
            )
        return made.to_dict()

    async def discard(self, job: Job) -> None:
        await delete_result(self._store, job)

    async def abandon(self, job: Job) -> None:
        """Delete the pieces. Cancelling `run` has already ended ffmpeg."""
        await forget(self._store, pieces_folder(job.payload["output_key"]))
