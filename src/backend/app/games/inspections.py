"""Reads a large video whole before its game is ready, where its ends do not prove what the rest of it is like.

That is a job with everything that jobs have: a lease, a resume after a crash, one result. The Machine does it, also
where Modal does the rest, because it needs neither a GPU nor the file on a disk. Each renewal of the lease stores how
far it got, and the next process goes on from there: Fly stops a Machine some minutes after its last request, and an
inspection of 10 GiB takes longer.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import apsw

from app import problems
from app.games import rows
from app.games.validation import inspect
from app.jobs import rows as job_rows
from app.jobs.models import Job, JobKind
from app.services.worker import Work, Worker, WorkFailed
from app.storage.interface import ObjectStore, StorageUnavailable
from app.storage.retry import Policy
from reel.errors import UnusableVideo
from reel.media import MediaInfo

# A Machine reads 8 MiB/s; an eighth of that is a store in trouble.
LEAST_BYTES_PER_S: Final = 1024 * 1024
SPARE_SECONDS: Final = 600.0
# Until the deadline: the store may be away for minutes.
RETRY: Final = Policy(attempts=1_000_000, first=1.0, longest=15.0)


def begin(connection: apsw.Connection, job_id: str, game_id: str, source_key: str, size: int) -> Job | None:
    """The game's unfinished inspection, or a new one with the id ``job_id``; None where the game is ready by now.

    Raises a 404 problem, and a 422 problem for a game whose video was refused.
    """
    game = rows.required(connection, game_id)
    if game["state"] == "ready":
        return None
    if game["state"] == "refused":
        raise problems.INVALID.error(f"{game['reason']}; nothing was stored, delete the game")
    for job in job_rows.of_kind(connection, JobKind.INSPECTION, game_id):
        if not job.status.over:
            return job
    rows.touch(connection, game_id)
    return job_rows.create(
        connection, job_id, JobKind.INSPECTION, game_id, {"source_key": source_key, "size_bytes": size}
    )


def facts(media: MediaInfo) -> dict[str, Any]:
    """What the row of a game says of its video."""
    return {
        "duration_s": media.duration_s,
        "width": media.video.width,
        "height": media.video.height,
        "frame_rate": float(media.video.fps) if media.video.fps else None,
        "video_codec": media.video.codec,
        "audio_codec": media.audio.codec if media.audio else None,
    }


class WithInspections:
    """A Worker that does inspections itself and gives the other jobs to `others`."""

    def __init__(self, others: Worker, store: ObjectStore, folder: Path) -> None:
        self.limit = others.limit
        self._others = others
        self._store = store
        self._folder = folder

    async def run(self, work: Work) -> dict[str, Any]:
        """Of an inspection: `facts`, or why the video is `refused`."""
        if work.job.kind is not JobKind.INSPECTION:
            return await self._others.run(work)
        key, size = work.job.payload["source_key"], work.job.payload["size_bytes"]
        trouble = "the Machine was too slow"

        async def read(offset: int, length: int) -> bytes:
            nonlocal trouble
            for wait in RETRY.waits():
                try:
                    return await self._store.get_range(key, offset, length)
                except StorageUnavailable as error:
                    trouble = f"object storage: {error}"
                await asyncio.sleep(wait)
            raise StorageUnavailable(trouble)

        async def report(share: float, checkpoint: str | None) -> None:
            await work.report(share, "inspect", checkpoint)

        deadline_s = SPARE_SECONDS + size / LEAST_BYTES_PER_S
        try:
            async with asyncio.timeout(deadline_s):
                media = await inspect(
                    read, size, self._folder, at_most=size, report=report, checkpoint=work.job.checkpoint
                )
        except TimeoutError as error:
            raise WorkFailed(f"The video could not be read within {deadline_s:.0f} s ({trouble})") from error
        except UnusableVideo as error:
            return {"refused": str(error)}
        assert media is not None
        return {"facts": facts(media)}

    async def discard(self, job: Job) -> None:
        """Of an inspection: frees the space of a video that was refused. An empty object stays in its place and keeps
        the URL of the upload from being used again."""
        if job.kind is JobKind.INSPECTION:
            await self._store.put_bytes(job.payload["source_key"], b"")
        else:
            await self._others.discard(job)

    async def abandon(self, job: Job) -> None:
        if job.kind is not JobKind.INSPECTION:
            await self._others.abandon(job)
