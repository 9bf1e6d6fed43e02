"""Runs jobs with ffmpeg on this Machine, one at a time, because 512 MB are enough for only one encoder.

A preview of a long game may take an hour. It is encoded in pieces, so that an export or a clip can run between two of
them. Pausing ffmpeg was rejected because it keeps its memory, and restarting the preview because it loses its work.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from app.jobs.models import Job, JobKind
from app.services.pieces import Pieces, forget
from app.services.worker import Work, delete_result, result_in_bucket
from app.storage.interface import ObjectStore
from app.storage.keys import pieces_folder
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
            if work.job.kind is JobKind.EXTRACTION:
                return await self._cut(work, Path(name), tools)
            folder = pieces_folder(work.job.payload["output_key"])
            kept = Pieces(self._store, f"{folder}{self._release}/")
            make = self._render if work.job.kind is JobKind.EXPORT else self._make_preview
            made = await make(work, Path(name), tools, kept)
            await forget(self._store, folder)
            return made

    async def _cut(self, work: Work, folder: Path, tools: Tools) -> dict[str, Any]:
        clip = ExtractClip.from_dict(work.job.payload)
        async with self._turn:
            made = await extract_clip(
                clip, self._store, folder, tools=tools, deadline_s=self._deadline_s, report=work.report
            )
        return made.to_dict()

    async def _render(self, work: Work, folder: Path, tools: Tools, kept: Pieces) -> dict[str, Any]:
        reel = RenderReel.from_dict(work.job.payload)
        async with self._turn:
            made = await render_reel(
                reel, self._store, folder, tools=tools, deadline_s=self._deadline_s, report=work.report, kept=kept
            )
        return made.to_dict()

    async def _make_preview(self, work: Work, folder: Path, tools: Tools, kept: Pieces) -> dict[str, Any]:
        clip = ExtractClip.from_dict(work.job.payload)
        async with self._preview:
            made = await extract_clip(
                clip,
                self._store,
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
        if job.kind is not JobKind.EXTRACTION:
            await forget(self._store, pieces_folder(job.payload["output_key"]))
