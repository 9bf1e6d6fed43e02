"""Runs jobs with ffmpeg on this Machine, one at a time, because 512 MB are enough for only one encoder."""

import tempfile
from pathlib import Path
from typing import Any

from app.jobs.models import Job, JobKind
from app.services.pieces import Pieces, forget
from app.services.worker import Work, delete_result, result_in_bucket
from app.storage.interface import ObjectStore, StorageError
from app.storage.keys import pieces_folder
from reel.errors import ReelError
from reel.payloads import ExtractClip, RenderReel
from reel.render import extract_clip, render_reel
from reel.tools import Tools, find_tools


class LocalWorker:
    """A Worker without Modal."""

    limit = 1

    def __init__(self, store: ObjectStore, folder: Path, deadline_s: float, release: str) -> None:
        self._release = release
        self._store = store
        self._folder = folder
        self._deadline_s = deadline_s

    async def run(self, work: Work) -> dict[str, Any]:
        # An earlier process may have stored the file and ended before its row said so.
        if work.job.progress > 0 and (stored := await result_in_bucket(self._store, work.job)) is not None:
            return stored
        tools = find_tools()
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{work.job.id}-", dir=self._folder) as name:
            if work.job.kind is JobKind.EXPORT:
                return await self._render(work, Path(name), tools)
            clip = ExtractClip.from_dict(work.job.payload)
            cut = await extract_clip(
                clip, self._store, Path(name), tools=tools, deadline_s=self._deadline_s, report=work.report
            )
            return cut.to_dict()

    async def _render(self, work: Work, folder: Path, tools: Tools) -> dict[str, Any]:
        reel = RenderReel.from_dict(work.job.payload)
        pieces = pieces_folder(reel.output_key)
        try:
            made = await render_reel(
                reel,
                self._store,
                folder,
                tools=tools,
                deadline_s=self._deadline_s,
                report=work.report,
                kept=Pieces(self._store, f"{pieces}{self._release}/"),
            )
        except (ReelError, StorageError):
            await forget(self._store, pieces)
            raise
        await forget(self._store, pieces)
        return made.to_dict()

    async def discard(self, job: Job) -> None:
        await delete_result(self._store, job)

    async def abandon(self, job: Job) -> None:
        """Cancelling `run` has ended ffmpeg; the pieces are no use any more."""
        if job.kind is JobKind.EXPORT:
            await forget(self._store, pieces_folder(RenderReel.from_dict(job.payload).output_key))
