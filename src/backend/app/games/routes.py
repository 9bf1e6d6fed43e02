"""`/api/games`: sources, uploaded by presigned URL."""

import datetime
from typing import Annotated

import apsw
from fastapi import APIRouter, Path, Query, Response

from app import problems
from app.clips import extractions
from app.db.rows import Row
from app.dependencies import ContextDep, CoreDep, ProfileKeysDep, SessionDep, SettingsDep, StoreDep
from app.games import rows, uploads
from app.games.models import (
    FinishUpload,
    GameList,
    GameView,
    MultipartUpload,
    NewUpload,
    PreparedUpload,
    SingleUpload,
    UploadPart,
    view,
)
from app.games.upload_plan import EXTENSIONS, extension, plan_parts
from app.ids import ID_PATTERN, new_id
from app.jobs import rows as job_rows
from app.jobs.dependencies import WAKE_JOBS, RunnerDep

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
        raise problems.INVALID.error(f"body.filename: expected a video ending in one of: {', '.join(EXTENSIONS)}")
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
    upload: SingleUpload | MultipartUpload
    if upload_id is None:
        signed = await store.presign_put(key, wanted.content_type, wanted.size)
        upload = SingleUpload(url=signed.url, headers=dict(signed.headers))
    else:
        urls = await store.presign_parts(key, upload_id, [part.size for part in parts])
        listed = [
            UploadPart(part_number=part.number, size=part.size, url=url) for part, url in zip(parts, urls, strict=True)
        ]
        upload = MultipartUpload(upload_id=upload_id, part_size=parts[0].size, parts=listed)
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=settings.presign_seconds)
    return PreparedUpload(game_id=game_id, upload=upload, expires_at=expires.isoformat(timespec="seconds"))


@router.post("/{game_id}/finalize-upload", summary="End an upload: the video is checked", responses=_ONE | _CONFLICT)
async def finalize_upload(
    game_id: GameId,
    done: FinishUpload,
    session: SessionDep,
    context: ContextDep,
    core: CoreDep,
) -> GameView:
    # A write although it changes nothing: what it says is the newest state, as of the change that follows.
    game = await session.write(lambda connection: rows.required(connection, game_id))
    if game["status"] == "uploading":
        game = await uploads.finish(game, done.parts, core, context)
    return view(game)


@router.get("", summary="All games, newest first")
async def list_games(session: SessionDep) -> GameList:
    return GameList(games=[view(row) for row in await session.read(rows.everything)])


@router.get("/{game_id}", summary="One game", responses=_ONE)
async def get_game(game_id: GameId, session: SessionDep) -> GameView:
    return view(await session.read(lambda connection: rows.required(connection, game_id)))


@router.delete("/{game_id}", status_code=204, summary="Delete a game and its files", responses=_ONE | _CONFLICT)
async def delete_game(
    game_id: GameId,
    session: SessionDep,
    store: StoreDep,
    keys: ProfileKeysDep,
    context: ContextDep,
    runner: RunnerDep,
    cascade: Annotated[bool, Query(description="Delete its clips too; without it a game with clips stays.")] = False,
) -> Response:
    def change(connection: apsw.Connection) -> tuple[Row, extractions.Ended]:
        game, clips = rows.delete(connection, game_id, cascade=cascade)
        source = keys.game_source(game_id, game["extension"])
        ended = extractions.end(connection, clips, keys)
        reason = f"The game {game['name']!r} was deleted before the export was rendered"
        failed = job_rows.fail_exports_of(connection, source, reason)
        return game, extractions.Ended([*ended.jobs, *failed], ended.files)

    game, ended = await session.write(change)
    # Rows first, and in R2: a file without a row is waste, a row without its file is a broken game.
    await session.settle()
    runner.stop_jobs(context, ended.jobs)
    if game["upload_id"] is not None:
        await store.abort_multipart(keys.game_source(game_id, game["extension"]), game["upload_id"])
    await store.delete_many(ended.files)
    await store.delete_prefix(keys.game_folder(game_id))
    return Response(status_code=204)
