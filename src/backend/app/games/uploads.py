"""Finishes an upload: completes the multipart upload, inspects the video, and marks the game as ready, or has a job
inspect the rest of it.

If the video cannot be used, its row and object are removed.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import apsw

from app import problems, timestamps
from app.context import UserContext
from app.core import Core
from app.db.rows import Row
from app.games import inspections, rows
from app.games.models import FinishedPart
from app.games.upload_plan import urls_seconds
from app.games.validation import AT_ONCE_BYTES, inspect
from app.ids import new_id
from app.jobs import rows as job_rows
from app.jobs import steps
from app.jobs.models import Job
from app.settings import Settings
from app.storage.interface import InvalidRequest, ObjectInfo, ObjectMissing, ObjectStore, UploadedPart
from app.storage.keys import ProfileKeys
from app.sync.interface import SyncError
from reel.errors import UnusableVideo

T = TypeVar("T")
log = logging.getLogger(__name__)


async def finish(
    game: Row, parts: list[FinishedPart], core: Core, context: UserContext, submit: Callable[[Job], None]
) -> Row:
    """The game, ready, or `inspecting` by a job that was submitted. Raises a 4xx problem: what can be repaired leaves
    the upload open, what cannot removes row and object.

    The video is looked at outside of any transaction. The write at the end decides whether the game is still being
    uploaded, so it needs no view that held all that time: it has a session of its own and survives conflicts.
    """
    store, keys = core.store, core.profile_keys(context)

    async def write(change: Callable[[apsw.Connection], T]) -> T:
        return await steps.write(core.databases, context, change)

    key = keys.game_source(game["id"], game["extension"])

    async def discard() -> None:
        if not await write(lambda connection: rows.discard(connection, game["id"])):
            raise problems.CONFLICT.error(f"The upload of game {game['id']!r} was finished or deleted meanwhile")
        # Rows first: a file without a row is waste, a row without its file is a broken game.
        await clear(game, store, key)

    if game["upload_id"] is not None:
        await _join(game, parts, store, key)
    elif parts:
        raise problems.INVALID.error("body.parts: this upload is a single PUT, expected an empty list")
    stored = await _stored(game, store, key)
    if stored.size != game["size_bytes"]:
        await discard()
        raise problems.INVALID.error(
            f"The uploaded file has {stored.size} bytes, {game['size_bytes']} were announced; nothing was stored, "
            "prepare the upload again"
        )
    try:
        async with core.inspections:
            read, folder = partial(store.get_range, key), core.settings.user_data_dir / ".work"
            media = await inspect(read, stored.size, folder, at_most=AT_ONCE_BYTES)
    except (ObjectMissing, InvalidRequest) as error:
        raise problems.CONFLICT.error(f"The upload of game {game['id']!r} was finished or deleted meanwhile") from error
    except UnusableVideo as error:
        await discard()
        raise problems.INVALID.error(f"{error}; nothing was stored") from error

    def end(connection: apsw.Connection) -> Row:
        if media is not None:
            rows.set_ready(connection, game["id"], inspections.facts(media))
        return rows.required(connection, game["id"])

    try:
        if media is None:
            return await read_whole(game, stored.size, core, context, submit)
        return await write(end)
    except problems.ProblemError:
        # Deleted meanwhile: an upload that was joined after that has left its object.
        await clear(game, store, key)
        raise


async def read_whole(game: Row, size: int, core: Core, context: UserContext, submit: Callable[[Job], None]) -> Row:
    """The game, `inspecting` by a job that was submitted. Raises a 404 or 422 problem."""
    key = core.profile_keys(context).game_source(game["id"], game["extension"])
    job_id = new_id("inspection")

    def change(connection: apsw.Connection) -> tuple[Job | None, Row]:
        job = inspections.begin(connection, job_id, game["id"], key, size)
        return job, rows.required(connection, game["id"])

    job, game = await steps.write(core.databases, context, change)
    if job is not None:
        submit(job)
    return game


async def clear(game: Row, store: ObjectStore, key: str) -> None:
    """Removes what was sent for a game that will never be, and makes the URLs of its upload useless.

    The URL of a single PUT creates an object and never replaces one, so an empty object in its place refuses it until
    it expires; the sweep removes the empty object after that. URLs of parts end with their upload.
    """
    if game["upload_id"] is None:
        await store.put_bytes(key, b"")
    else:
        await store.abort_multipart(key, game["upload_id"])
        await store.delete(key)


def urls_expire_after(settings: Settings) -> str:
    """A game whose row did not change since this moment has no URL any more that is good for an upload. (A row changes
    when URLs are signed, and when the upload is finished.)"""
    return timestamps.text(time.time() - urls_seconds(settings))


def _url_may_be_good(game: Row, since: str) -> bool:
    """Whether the URL of the game's single PUT may still create an object; ``since`` is ``urls_expire_after``."""
    return bool(game["part_count"] == 0 and game["updated_at"] >= since)


async def remove(game: Row, store: ObjectStore, keys: ProfileKeys, settings: Settings) -> None:
    """Removes the files of a game whose row was deleted.

    The URL of a single PUT outlives the upload. Where it may still be good, an empty object replaces the video and
    keeps the URL from creating another one, which no row would belong to.
    """
    folder, source = keys.game_folder(game["id"]), keys.game_source(game["id"], game["extension"])
    if game["status"] == "uploading":
        await clear(game, store, source)
    elif _url_may_be_good(game, urls_expire_after(settings)):
        # Replaced, not deleted and created: between the two, the URL would be good.
        await store.put_bytes(source, b"")
        await store.delete_many([item.key for item in await store.list(folder) if item.key != source])
    else:
        await store.delete_prefix(folder)


async def end_all(core: Core, context: UserContext) -> list[Job]:
    """Makes the URLs of all uploads useless, for a profile that is being deleted. Returns its unfinished jobs, whose
    calls may run on Modal although no Machine knows of them.

    A database that cannot be read does not keep the profile: what arrives later is swept (`Profiles.sweep`).
    """
    try:
        async with core.databases.session(context) as session:
            games, jobs = await session.read(
                lambda c: (rows.everything(c), [*job_rows.unfinished(c), *job_rows.deleted(c)])
            )
    except SyncError as error:
        log.warning("%s is deleted, URLs of uploads and calls may stay good for a while: %s", context, error)
        return []
    store, keys, since = core.store, core.profile_keys(context), urls_expire_after(core.settings)
    open_ = [game for game in games if game["status"] == "uploading" or _url_may_be_good(game, since)]
    await asyncio.gather(*(clear(game, store, keys.game_source(game["id"], game["extension"])) for game in open_))
    return jobs


async def _join(game: Row, parts: list[FinishedPart], store: ObjectStore, key: str) -> None:
    wanted = set(range(1, game["part_count"] + 1))
    given = [part.part_number for part in parts]
    missing, unknown = sorted(wanted - set(given)), sorted(set(given) - wanted)
    if missing or unknown or len(given) != len(wanted):
        raise problems.INVALID.error(
            f"body.parts: expected each of the parts 1 to {game['part_count']} once with its ETag"
            f" (missing: {missing[:10]}, unknown: {unknown[:10]}); the upload is still open"
        )
    try:
        await store.complete_multipart(
            key,
            game["upload_id"],
            [UploadedPart(part.part_number, part.etag) for part in sorted(parts, key=lambda part: part.part_number)],
        )
    except InvalidRequest as error:
        raise problems.INVALID.error(f"body.parts: {error}; the upload is still open") from error
    except ObjectMissing:
        # Either an earlier try has joined it and its answer was lost (then the object is there), or it expired.
        log.info("upload of game %s is already closed", game["id"])


async def _stored(game: Row, store: ObjectStore, key: str) -> ObjectInfo:
    try:
        return await store.head(key)
    except ObjectMissing as error:
        raise problems.CONFLICT.error(
            "Nothing was uploaded yet: PUT the file to the URL of prepare-upload, then finalize again"
            if game["upload_id"] is None
            else "The upload has expired, and its parts are gone: delete the game and prepare the upload again"
        ) from error
