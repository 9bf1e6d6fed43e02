"""`/api/clips`: spans of games, and their extraction; `/api/extractions`: how far those are."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response

from app import problems
from app.clips import rows
from app.clips.models import ClipChange, ClipList, ClipView, Extraction, ExtractionList, NewClip, view
from app.db.rows import Row
from app.dependencies import ContextDep, ProfileKeysDep, SessionDep, StoreDep
from app.games import rows as game_rows
from app.ids import ID_PATTERN, new_id
from app.jobs import rows as job_rows
from app.jobs.dependencies import WAKE_JOBS, RunnerDep
from app.jobs.models import Job, JobKind, view_fields
from app.sync.interface import Session
from reel.payloads import MAX_REEL_SECONDS, MIN_SPAN_SECONDS, ExtractClip

router = APIRouter(
    prefix="/api", tags=["clips"], responses=problems.responses(*problems.OF_A_PROFILE), dependencies=[WAKE_JOBS]
)
ClipId = Annotated[str, Path(pattern=ID_PATTERN, description="The clip.")]
GameId = Annotated[str | None, Query(pattern=ID_PATTERN, description="Only clips of this game.")]
_ONE: Final = problems.responses(problems.NOT_FOUND, problems.UNKNOWN_PROFILE)
_CONFLICT: Final = problems.responses(problems.CONFLICT)


@router.post("/clips", status_code=201, summary="Cut a clip", responses=_ONE | _CONFLICT)
async def create_clip(wanted: NewClip, session: SessionDep) -> ClipView:
    game = await session.read(lambda connection: game_rows.find(connection, wanted.game_id))
    if game is None:
        raise problems.NOT_FOUND.error(f"There is no game {wanted.game_id!r} in this profile")
    if game["status"] != "ready":
        raise problems.CONFLICT.error(f"The upload of game {wanted.game_id!r} is not finished: finalize it first")
    check_bounds(wanted.start, wanted.end, game["duration_s"])
    clip_id = new_id("clip")
    row = {
        "id": clip_id,
        "game_id": wanted.game_id,
        "name": wanted.name,
        "start_s": wanted.start,
        "end_s": wanted.end,
    }
    await session.write(lambda connection: rows.create(connection, row))
    return view(await required(session, clip_id))


@router.get("/clips", summary="Clips, newest first")
async def list_clips(session: SessionDep, game_id: GameId = None) -> ClipList:
    return ClipList(clips=[view(row) for row in await session.read(lambda c: rows.everything(c, game_id))])


@router.get("/clips/{clip_id}", summary="One clip", responses=_ONE)
async def get_clip(clip_id: ClipId, session: SessionDep) -> ClipView:
    return view(await required(session, clip_id))


@router.patch("/clips/{clip_id}", summary="Rename a clip or move its bounds", responses=_ONE)
async def change_clip(clip_id: ClipId, change: ClipChange, session: SessionDep) -> ClipView:
    clip = await required(session, clip_id)
    start = clip["start_s"] if change.start is None else change.start
    end = clip["end_s"] if change.end is None else change.end
    check_bounds(start, end, clip["game_duration_s"])
    moved = (start, end) != (clip["start_s"], clip["end_s"])
    changes = {"name": change.name, "start_s": start, "end_s": end}
    await session.write(lambda c: rows.update(c, clip_id, changes, forget_extraction=moved))
    return view(await required(session, clip_id))


@router.delete("/clips/{clip_id}", status_code=204, summary="Delete a clip and its file", responses=_ONE | _CONFLICT)
async def delete_clip(clip_id: ClipId, session: SessionDep, store: StoreDep, keys: ProfileKeysDep) -> Response:
    await required(session, clip_id)
    projects = await session.read(lambda connection: rows.projects_with(connection, clip_id))
    if projects:
        raise problems.CONFLICT.error(f"The clip is in {len(projects)} projects ({', '.join(projects[:3])}): remove it")
    await session.write(lambda connection: rows.delete(connection, clip_id))
    await session.settle()
    await store.delete(keys.clip(clip_id))
    return Response(status_code=204)


@router.post("/clips/{clip_id}/extract", status_code=202, summary="Cut the clip into a file", responses=_ONE)
async def extract(
    clip_id: ClipId, session: SessionDep, keys: ProfileKeysDep, context: ContextDep, runner: RunnerDep
) -> Extraction:
    clip = await required(session, clip_id)
    running = [
        job
        for job in await session.read(lambda c: job_rows.of_kind(c, JobKind.EXTRACTION, clip_id))
        if not job.status.over
    ]
    if running:  # asking twice is no reason to do it twice
        return extraction_view(running[0])
    job_id = new_id("extraction")
    payload = ExtractClip(
        source_key=keys.game_source(clip["game_id"], clip["game_extension"]),
        output_key=keys.clip(clip_id),
        start_s=clip["start_s"],
        end_s=clip["end_s"],
    )

    def change(connection: rows.Connection) -> Job | None:
        job_rows.create(connection, job_id, JobKind.EXTRACTION, clip_id, payload.to_dict())
        return job_rows.find(connection, job_id)

    job = await session.write(change)
    assert job is not None
    # The runner opens a view of its own: it must find the row in object storage.
    await session.settle()
    runner.submit(context, job_id)
    return extraction_view(job)


@router.get("/extractions", tags=["clips"], summary="Extractions, newest first")
async def list_extractions(session: SessionDep, context: ContextDep, runner: RunnerDep) -> ExtractionList:
    found = await session.read(lambda connection: job_rows.of_kind(connection, JobKind.EXTRACTION))
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


def check_bounds(start: float, end: float, duration: float) -> None:
    """Raises a 422 problem when this is no span of a game that long (seconds)."""
    if end - start < MIN_SPAN_SECONDS:
        raise problems.INVALID.error(
            f"body.end: expected at least {MIN_SPAN_SECONDS} s after start {start:g}, got {end:g}"
        )
    if end > duration + 0.001:
        raise problems.INVALID.error(f"body.end: the game ends at {duration:.3f} s, got {end:g}")
    if end - start > MAX_REEL_SECONDS:
        raise problems.INVALID.error(f"body.end: a clip lasts at most {MAX_REEL_SECONDS:g} s, got {end - start:g}")


async def required(session: Session, clip_id: str) -> Row:
    """The clip; raises a 404 problem."""
    found = await session.read(lambda connection: rows.find(connection, clip_id))
    if found is None:
        raise problems.NOT_FOUND.error(f"There is no clip {clip_id!r} in this profile")
    return found
