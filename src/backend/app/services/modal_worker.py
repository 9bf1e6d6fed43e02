"""Jobs on Modal: renders are spawned and found again by their call id, extractions are short and waited for."""

from typing import Any

from app.jobs.models import Job, JobKind
from app.services.modal_client import CallLost, ModalClient
from app.services.worker import Work, WorkFailed
from app.storage.interface import ObjectMissing, ObjectStore
from reel.payloads import ExtractClip, ExtractClipResult, PayloadError, RenderReel, RenderReelResult


class ModalWorker:
    """A Worker whose work happens elsewhere: several at a time cost nothing here."""

    limit = 8

    def __init__(self, store: ObjectStore, client: ModalClient, deadline_s: float) -> None:
        self._store = store
        self._client = client
        self._deadline_s = deadline_s

    async def run(self, work: Work) -> dict[str, Any]:
        try:
            if work.job.kind is JobKind.EXPORT:
                rendered = RenderReelResult.from_dict(await self._render(work))
                await self._check(RenderReel.from_dict(work.job.payload).output_key, rendered)
                return rendered.to_dict()
            payload = ExtractClip.from_dict(work.job.payload)
            await work.report(0.05, "extract")
            answer = await self._client.remote("extract_clip", payload.to_dict(), deadline_s=self._deadline_s)
            cut = ExtractClipResult.from_dict(answer)
            await self._check(payload.output_key, cut)
            return cut.to_dict()
        except PayloadError as error:
            raise WorkFailed(f"Payload or result of another shape: {error}; deploy src/gpu again") from error

    async def abandon(self, job: Job) -> None:
        if job.call_id is not None:
            await self._client.cancel(job.call_id)

    async def _render(self, work: Work) -> dict[str, Any]:
        payload = RenderReel.from_dict(work.job.payload).to_dict()

        async def on_wait() -> None:
            progress = await self._client.progress(work.job.id)
            if progress is not None:
                await work.report(min(progress.progress, 0.99), progress.phase)

        call_id = work.job.call_id
        for _ in range(2):
            if call_id is None:
                await work.report(0.0, "queued on Modal")
                call_id = await self._client.spawn("render_reel", payload)
                await work.note_call(call_id)
            try:
                return await self._client.result("render_reel", call_id, deadline_s=self._deadline_s, on_wait=on_wait)
            except CallLost:
                call_id = None
        raise WorkFailed("Modal forgot the call twice: try again later")

    async def _check(self, key: str, result: RenderReelResult | ExtractClipResult) -> None:
        """What the function says is not enough: an upload that nobody checked has failed before."""
        if result.output_key != key:
            raise WorkFailed(f"Modal stored {result.output_key}, expected {key}: deploy src/gpu again")
        try:
            stored = await self._store.head(key)
        except ObjectMissing as error:
            raise WorkFailed("Modal says it is done, but the file is not in the bucket") from error
        if stored.size != result.size_bytes:
            raise WorkFailed(f"The file in the bucket has {stored.size} bytes, Modal wrote {result.size_bytes}")
