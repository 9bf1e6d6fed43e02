"""`/api/clips`: spans of games and their extraction. `/api/extractions`: the progress of extractions."""

from typing import Annotated, Final

import apsw
from fastapi import APIRouter, Path, Query, Response

from app import problems
from app.clips import extractions, rows
from app.clips.models import ClipChange, ClipList, ClipView, Extraction, ExtractionList, NewClip, view
from app.dependencies import ContextDep, ProfileKeysDep, SessionDep, StoreDep
from app.ids import ID_PATTERN, new_id
from app.jobs import rows as job_rows
from app.jobs.dependencies import WAKE_JOBS, RunnerDep
from app.jobs.models import Job, JobKind, view_fields

router = APIRouter(
    prefix="/api", tags=["clips"], responses=problems.responses(*problems.OF_A_PROFILE), dependencies=[WAKE_JOBS]
)
ClipId = Annotated[str, Path(pattern=ID_PATTERN, description="The clip.")]
GameId = Annotated[str | None, Query(pattern=ID_PATTERN, description="Only clips of this game.")]
_ONE: Final = problems.responses(problems.NOT_FOUND, problems.UNKNOWN_PROFILE)
_CONFLICT: Final = problems.responses(problems.CONFLICT)


@router.post("/clips", status_code=201, summary="Cut a clip", responses=_ONE | _CONFLICT)
async def create_clip(wanted: NewClip, session: SessionDep) -> ClipView:
    clip_id, fields = new_id("clip"), wanted.model_dump()
    return view(await session.write(lambda connection: rows.create(connection, clip_id, **fields)))


@router.get("/clips", summary="Clips, newest first")
async def list_clips(session: SessionDep, game_id: GameId = None) -> ClipList:
    return ClipList(clips=[view(row) for row in await session.read(lambda c: rows.everything(c, game_id))])


@router.get("/clips/{clip_id}", summary="One clip", responses=_ONE)
async def get_clip(clip_id: ClipId, session: SessionDep) -> ClipView:
    return view(await session.read(lambda connection: rows.required(connection, clip_id)))


@router.patch("/clips/{clip_id}", summary="Rename a clip or move its bounds", responses=_ONE)
async def change_clip(
    clip_id: ClipId, change: ClipChange, session: SessionDep, context: ContextDep, runner: RunnerDep
) -> ClipView:
    wanted = change.model_dump(exclude_unset=True)
    clip, stopped = await session.write(lambda connection: extractions.change_clip(connection, clip_id, **wanted))
    if stopped:
        await session.settle()
        runner.stop_jobs(context, stopped)
    return view(clip)


@router.delete("/clips/{clip_id}", status_code=204, summary="Delete a clip and its file", responses=_ONE | _CONFLICT)
async def delete_clip(
    clip_id: ClipId,
    session: SessionDep,
    store: StoreDep,
    keys: ProfileKeysDep,
    context: ContextDep,
    runner: RunnerDep,
    cascade: Annotated[bool, Query(description="Take it out of projects; without it a clip in use stays.")] = False,
) -> Response:
    def change(connection: apsw.Connection) -> extractions.Ended:
        rows.delete(connection, clip_id, cascade=cascade)
        return extractions.end(connection, [clip_id], keys)

    ended = await session.write(change)
    # The row is deleted first, also in R2: a file without a row only wastes space, but a row without its file would be
    # a broken clip.
    await session.settle()
    runner.stop_jobs(context, ended.jobs)
    await store.delete_many(ended.files)
    return Response(status_code=204)


@router.post("/clips/{clip_id}/extract", status_code=202, summary="Cut the clip into a file", responses=_ONE)
async def extract(
    clip_id: ClipId, session: SessionDep, keys: ProfileKeysDep, context: ContextDep, runner: RunnerDep
) -> Extraction:
    """A second request during an extraction returns that extraction."""
    job_id = new_id("extraction")
    job = await session.write(lambda connection: extractions.begin(connection, job_id, clip_id, keys))
    # The runner opens its own session, so the row must be in object storage first.
    await session.settle()
    runner.submit(context, job)
    return extraction_view(job)


@router.get("/extractions", tags=["clips"], summary="Extractions, newest first")
async def list_extractions(session: SessionDep, context: ContextDep, runner: RunnerDep) -> ExtractionList:
    found = await session.read(lambda connection: job_rows.of_kind(connection, JobKind.EXTRACTION, limit=200))
    return ExtractionList(extractions=[extraction_view(runner.latest(context, job)) for job in found])


@router.get("/extractions/{extraction_id}", summary="One extraction", responses=_ONE)
async def get_extraction(
    extraction_id: Annotated[str, Path(pattern=ID_PATTERN)],
    session: SessionDep,
    context: ContextDep,
    runner: RunnerDep,
) -> Extraction:
    job = await session.read(lambda connection: job_rows.find(connection, extraction_id))
    if job is None or job.kind is not JobKind.EXTRACTION:
        raise problems.NOT_FOUND.error(f"There is no extraction {extraction_id!r} in this profile")
    return extraction_view(runner.latest(context, job))


def extraction_view(job: Job) -> Extraction:
    return Extraction(**view_fields(job), clip_id=job.subject_id)
