"""Runs jobs on Modal: spawns calls, finds them by their id after a restart, and cancels them with their job."""

import asyncio
import contextlib
import functools
import logging
from typing import Any, Final

from app.jobs.models import Job, JobKind
from app.services.gpu_deploy import GpuDeploy
from app.services.local_worker import LocalWorker
from app.services.modal_client import CallLost, ModalClient, PayloadRefused
from app.services.worker import Work, WorkFailed, delete_result, result_in_bucket
from app.storage.interface import ObjectMissing, ObjectStore
from reel.forms import without_defaults
from reel.payloads import ExtractClip, ExtractClipResult, PayloadError, RenderReel, RenderReelResult

log = logging.getLogger(__name__)
_PROGRESS_SECONDS: Final = 0.1
# How long a new call waits until an earlier one of the same job is cancelled.
_EARLIER_SECONDS: Final = 5.0


class _Stored(Exception):
    """The object of the job is in the bucket, whatever has become of the call."""

    def __init__(self, result: dict[str, Any]) -> None:
        self.result = result


class ModalWorker:
    """A Worker that uses Modal, so several jobs at a time need no resources here. Jobs that the deployed functions are
    too old for run on the Machine's own worker."""

    limit = 8

    def __init__(
        self, store: ObjectStore, client: ModalClient, deadline_s: float, *, gpu: GpuDeploy, machine: LocalWorker
    ) -> None:
        self._store = store
        self._client = client
        self._deadline_s = deadline_s
        self._gpu = gpu
        self._machine = machine

    async def run(self, work: Work) -> dict[str, Any]:
        try:
            return await self._run(work)
        except PayloadRefused as error:
            self._gpu.refused(f"{error}: the Machine does job {work.job.id}")
        # A job that is resumed later must not wait for that call.
        await work.note_call(None)
        return await self._machine.run(work)

    async def _run(self, work: Work) -> dict[str, Any]:
        try:
            if work.job.kind is JobKind.EXPORT:
                reel = RenderReel.from_dict(work.job.payload)
                if self._is_too_old_for(reel, work):
                    return await self._machine.run(work)
                return await self._checked(await self._call("render_reel", reel, work), RenderReelResult, work.job)
            clip = ExtractClip.from_dict(work.job.payload)
            if self._is_too_old_for(clip, work):
                return await self._machine.run(work)
            return await self._checked(await self._call("extract_clip", clip, work), ExtractClipResult, work.job)
        except _Stored as found:
            return found.result
        except PayloadError as error:
            raise WorkFailed(
                f"The GPU function's payload or result is not valid: {error}; deploy src/gpu again"
            ) from error

    def _is_too_old_for(self, wanted: RenderReel | ExtractClip, work: Work) -> bool:
        lacking = self._gpu.lacks(wanted) if work.job.call_id is None else []
        if lacking:
            log.info("job %s is done on the Machine: the GPU functions lack %s", work.job.id, ", ".join(lacking))
        return bool(lacking)

    async def discard(self, job: Job) -> None:
        await delete_result(self._store, job)

    async def abandon(self, job: Job) -> None:
        if job.call_id is not None:
            await self._client.cancel(job.call_id)
        else:
            await self._machine.abandon(job)

    async def _call(self, function: str, wanted: RenderReel | ExtractClip, work: Work) -> dict[str, Any]:
        """The answer of the function. Raises _Stored as soon as the object is found in the bucket."""
        asking: asyncio.Task[None] | None = None

        async def ask() -> None:
            progress = await self._client.progress(work.job.id)
            if progress is not None:
                await work.report(min(progress.progress, 0.99), progress.phase)

        async def on_wait() -> None:
            nonlocal asking
            if work.job.kind is not JobKind.EXPORT:
                return  # extractions are short and do not report progress
            if asking is None or asking.done():
                asking = asyncio.create_task(ask())
            # A slow progress request must not delay the result.
            await asyncio.wait([asking], timeout=_PROGRESS_SECONDS)

        look = functools.partial(self._look, work.job)
        call_id = work.job.call_id
        try:
            for _ in range(2):
                # An earlier process, or the call that Modal no longer knows, may have completed the job.
                await look()
                if call_id is None:
                    await work.report(0.0, "queued on Modal")
                    await self._end_earlier(work.job)
                    call_id = await self._spawn(function, without_defaults(wanted))
                    await work.note_call(call_id)
                try:
                    return await self._client.result(
                        function, call_id, deadline_s=self._deadline_s, on_wait=on_wait, on_outage=look
                    )
                except CallLost:
                    call_id = None
                except WorkFailed:
                    await look()
                    raise
        finally:
            if asking is not None:
                asking.cancel()
        raise WorkFailed("Modal lost the call twice; try again later")

    async def _end_earlier(self, job: Job) -> None:
        """Cancel a call that this job's row does not know: the Machine that began it was killed before it stored the
        call's id. If the function has not started yet, or Modal does not answer, that call runs to its end, an hour at
        most: the same file is then made twice."""
        try:
            async with asyncio.timeout(_EARLIER_SECONDS):
                earlier = await self._client.begun(job.payload["output_key"])
                if earlier is not None:
                    log.info("job %s: an earlier call, %s, is cancelled before a new one begins", job.id, earlier)
                    await self._client.cancel(earlier)
        except (TimeoutError, WorkFailed) as error:
            log.warning("job %s: an earlier call may still run on Modal (%s)", job.id, error or "no answer")

    async def _spawn(self, function: str, payload: dict[str, Any]) -> str:
        """Begin a call. A cancellation waits for the id of the call, which it needs to cancel the call."""
        begun = asyncio.ensure_future(self._client.spawn(function, payload))
        try:
            return await asyncio.shield(begun)
        except asyncio.CancelledError:
            with contextlib.suppress(WorkFailed):
                await self._client.cancel(await begun)
            raise

    async def _look(self, job: Job) -> None:
        """Raises _Stored if the object is in the bucket."""
        if (made := await result_in_bucket(self._store, job)) is not None:
            raise _Stored(made)

    async def _checked(
        self, answer: dict[str, Any], kind: type[RenderReelResult] | type[ExtractClipResult], job: Job
    ) -> dict[str, Any]:
        """The result, compared with the stored file, because a function may report success although its upload failed.
        What is stored counts where an older or newer function answers in another form."""
        key = job.payload["output_key"]
        try:
            result = kind.from_dict(answer)
        except PayloadError:
            await self._look(job)
            raise
        if result.output_key != key:
            await self._look(job)
            raise WorkFailed(f"Modal stored {result.output_key}, expected {key}: deploy src/gpu again")
        try:
            stored = await self._store.head(key)
        except ObjectMissing as error:
            raise WorkFailed("Modal reports success, but the file is not in the bucket") from error
        if stored.size != result.size_bytes:
            # Deleted, because a retry would take it for its result.
            await delete_result(self._store, job)
            raise WorkFailed(f"The file in the bucket has {stored.size} bytes, Modal wrote {result.size_bytes}")
        return result.to_dict()
