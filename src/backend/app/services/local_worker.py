"""ffmpeg on this Machine: one job at a time, because 512 MB hold one encoder."""

import tempfile
from pathlib import Path
from typing import Any

from app.jobs.models import Job, JobKind
from app.services.worker import Work, result_in_bucket
from app.storage.interface import ObjectStore
from reel.payloads import ExtractClip, RenderReel
from reel.render import extract_clip, render_reel
from reel.tools import find_tools


class LocalWorker:
    """A Worker without Modal."""

    limit = 1

    def __init__(self, store: ObjectStore, folder: Path, deadline_s: float) -> None:
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
                reel = RenderReel.from_dict(work.job.payload)
                made = await render_reel(
                    reel, self._store, Path(name), tools=tools, deadline_s=self._deadline_s, report=work.report
                )
                return made.to_dict()
            clip = ExtractClip.from_dict(work.job.payload)
            cut = await extract_clip(
                clip, self._store, Path(name), tools=tools, deadline_s=self._deadline_s, report=work.report
            )
            return cut.to_dict()

    async def abandon(self, job: Job) -> None:
        """Nothing: cancelling `run` has ended ffmpeg."""
