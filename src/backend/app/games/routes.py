"""`/api/games`: sources, uploaded by presigned URL."""

import datetime
from functools import partial
from typing import Annotated

import apsw
from fastapi import APIRouter, Path, Query, Response

from app import problems
from app.clips import extractions
from app.db.rows import Row
from app.dependencies import ContextDep, CoreDep, ProfileKeysDep, SessionDep, SettingsDep, StoreDep
from app.games import previews, rows, uploads
from app.games.models import (
    FinishUpload,
    GameChange,
    GameList,
    GameView,
    MultipartUpload,
    NewUpload,
    PreparedUpload,
    SingleUpload,
    UploadPart,
    view,
)
from app.games.upload_plan import EXTENSIONS, Part, extension, plan_parts
from app.ids import ID_PATTERN, new_id
from app.jobs import rows as job_rows
from app.jobs.dependencies import WAKE_JOBS, RunnerDep
from app.jobs.models import Job
from app.settings import Settings
from app.storage.interface import ObjectStore

router = APIRouter(
    prefix="/api/games", tags=["games"], responses=problems.responses(*problems.OF_A_PROFILE), dependencies=[WAKE_JOBS]
)
GameId = Annotated[str, Path(pattern=ID_PATTERN, description="The game.")]
_ONE = problems.responses(problems.NOT_FOUND, problems.UNKNOWN_PROFILE)
_CONFLICT = problems.responses(problems.CONFLICT)


@router.post("/prepare-upload", status_code=201, summary="Begin an upload: URLs to PUT the video to")
async def prepare_upload(
    wanted: NewUpload, session: SessionDep, store: StoreDep, keys: ProfileKeysDep, settings: SettingsDep
) -> PreparedUpload:
    ending = extension(wanted.filename)
    if ending is None:
        raise problems.INVALID.error(
            f"body.filename: expected a video ending in one of: {', '.join(EXTENSIONS)}. Convert any other kind of"
            " video (mpg, wmv, …) into an MP4 and upload that"
        )
    if wanted.size > settings.max_upload_bytes:
        raise problems.INVALID.error(f"body.size: at most {settings.max_upload_bytes} bytes, got {wanted.size}")
    game_id = new_id("game")
    key = keys.game_source(game_id, ending)
    parts = plan_parts(wanted.size, settings)
    upload_id = await store.create_multipart(key, wanted.content_type) if parts else None
    row = {
        "id": game_id,
        "name": wanted.name,
        "filename": wanted.filename,
        "content_type": wanted.content_type,
        "extension": ending,
        "size_bytes": wanted.size,
        "upload_id": upload_id,
        "part_count": len(parts),
    }
    await session.write(lambda connection: rows.create(connection, row))
    return await _signed(row, key, parts, store, settings)


@router.post(
    "/{game_id}/upload-urls",
    summary="Go on with an upload: fresh URLs for the same file and the same parts",
    responses=_ONE | _CONFLICT,
)
async def upload_urls(
    game_id: GameId, session: SessionDep, store: StoreDep, keys: ProfileKeysDep, settings: SettingsDep
) -> PreparedUpload:
    """For an upload that takes longer than its URLs are good for, or goes on after a reload."""
    game = await session.write(lambda connection: rows.go_on(connection, game_id))
    # As it was planned: a release with other settings must not cut the file elsewhere.
    parts = plan_parts(game["size_bytes"], settings)
    if len(parts) != game["part_count"]:
        raise problems.CONFLICT.error("This release would cut the upload into other parts: begin it again")
    return await _signed(game, keys.game_source(game_id, game["extension"]), parts, store, settings)


async def _signed(game: Row, key: str, parts: list[Part], store: ObjectStore, settings: Settings) -> PreparedUpload:
    upload: SingleUpload | MultipartUpload
    if game["upload_id"] is None:
        signed = await store.presign_put(key, game["content_type"], game["size_bytes"])
        upload = SingleUpload(url=signed.url, headers=dict(signed.headers))
    else:
        urls = await store.presign_parts(key, game["upload_id"], [part.size for part in parts])
        listed = [
            UploadPart(part_number=part.number, size=part.size, url=url) for part, url in zip(parts, urls, strict=True)
        ]
        upload = MultipartUpload(upload_id=game["upload_id"], part_size=parts[0].size, parts=listed)
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=settings.presign_seconds)
    return PreparedUpload(
        game_id=game["id"],
        upload=upload,
        expires_at=expires.isoformat(timespec="seconds"),
        expires_in=settings.presign_seconds,
    )


@router.post("/{game_id}/finalize-upload", summary="End an upload: the video is checked", responses=_ONE | _CONFLICT)
async def finalize_upload(
    game_id: GameId,
    done: FinishUpload,
    session: SessionDep,
    context: ContextDep,
    core: CoreDep,
    runner: RunnerDep,
) -> GameView:
    """Where the ends of a large video do not prove the rest (MPEG-TS, fragmented MP4, FLV, a browser's recording), the
    game is `inspecting` until a job has read all of it: then it is `ready`, or `refused` with a reason."""
    submit = partial(runner.submit, context)
    game = await session.write(lambda connection: rows.begin_finish(connection, game_id))
    if game["state"] == "uploading":
        game = await uploads.finish(game, done.parts, core, context, submit)
    elif game["state"] in ("failed", "refused"):
        game = await uploads.read_whole(game, game["size_bytes"], core, context, submit)
    return view(game)


@router.get("", summary="All games, newest first")
async def list_games(session: SessionDep) -> GameList:
    return GameList(games=[view(row) for row in await session.read(rows.everything)])


@router.get("/{game_id}", summary="One game", responses=_ONE)
async def get_game(game_id: GameId, session: SessionDep) -> GameView:
    return view(await session.read(lambda connection: rows.required(connection, game_id)))


@router.patch("/{game_id}", summary="Rename a game", responses=_ONE)
async def rename_game(game_id: GameId, wanted: GameChange, session: SessionDep) -> GameView:
    return view(await session.write(lambda connection: rows.rename(connection, game_id, wanted.name)))


@router.post(
    "/{game_id}/preview",
    status_code=202,
    summary="Make a small copy for browsers that cannot play the video",
    responses=_ONE | _CONFLICT,
)
async def make_preview(
    game_id: GameId, session: SessionDep, keys: ProfileKeysDep, context: ContextDep, runner: RunnerDep
) -> GameView:
    """Asking again answers with the preview that is there or under way; one that failed is made anew."""
    job_id = new_id("preview")

    def change(connection: apsw.Connection) -> tuple[Job, Row]:
        job = previews.begin(connection, job_id, game_id, keys)
        return job, rows.required(connection, game_id)

    job, game = await session.write(change)
    if not job.status.over:
        # The runner opens a view of its own: it must find the row in object storage.
        await session.settle()
        runner.submit(context, job)
    return view(game)


@router.delete("/{game_id}", status_code=204, summary="Delete a game and its files", responses=_ONE | _CONFLICT)
async def delete_game(
    game_id: GameId,
    session: SessionDep,
    store: StoreDep,
    keys: ProfileKeysDep,
    context: ContextDep,
    runner: RunnerDep,
    settings: SettingsDep,
    cascade: Annotated[bool, Query(description="Delete its clips too; without it a game with clips stays.")] = False,
) -> Response:
    def change(connection: apsw.Connection) -> tuple[Row, extractions.Ended]:
        game, clips = rows.delete(connection, game_id, cascade=cascade)
        source = keys.game_source(game_id, game["extension"])
        ended = extractions.end(connection, clips, keys)
        reason = f"The game {game['name']!r} was deleted before the export was rendered"
        failed = job_rows.fail_exports_of(connection, source, reason)
        return game, extractions.Ended([*ended.jobs, *failed, *previews.end(connection, game_id)], ended.files)

    game, ended = await session.write(change)
    # Rows first, and in R2: a file without a row is waste, a row without its file is a broken game.
    await session.settle()
    runner.stop_jobs(context, ended.jobs)
    await store.delete_many(ended.files)
    await uploads.remove(game, store, keys, settings)
    return Response(status_code=204)
