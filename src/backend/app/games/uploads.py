"""Finishing an upload: joined, measured, looked at, and only then a game; or gone without a trace."""

import logging
from typing import Any

from app import problems
from app.db.rows import Row
from app.games import rows
from app.games.models import FinishedPart
from app.games.validation import inspect
from app.settings import Settings
from app.storage.interface import InvalidRequest, ObjectInfo, ObjectMissing, ObjectStore, UploadedPart
from app.storage.keys import ProfileKeys
from app.sync.interface import Session
from reel.errors import UnusableVideo
from reel.media import MediaInfo

log = logging.getLogger(__name__)


async def finish(
    game: Row, parts: list[FinishedPart], session: Session, store: ObjectStore, keys: ProfileKeys, settings: Settings
) -> Row:
    """The game, `ready`. Raises a 4xx problem: what can be repaired leaves the upload open, what cannot removes row and
    object.

    The video is looked at outside of any transaction; that the game is still being uploaded is decided by the write.
    """
    key = keys.game_source(game["id"], game["extension"])
    if game["upload_id"] is not None:
        await _join(game, parts, store, key)
    elif parts:
        raise problems.INVALID.error("body.parts: this upload is a single PUT, expected an empty list")
    stored = await _stored(store, key)
    if stored.size != game["size_bytes"]:
        await _discard(game, session, store, keys)
        raise problems.INVALID.error(
            f"The uploaded file has {stored.size} bytes, {game['size_bytes']} were announced; nothing was stored, "
            "prepare the upload again"
        )
    try:
        media = await inspect(store, key, stored.size, settings.user_data_dir / ".work")
    except UnusableVideo as error:
        await _discard(game, session, store, keys)
        raise problems.INVALID.error(f"{error}; nothing was stored") from error
    try:
        return await session.write(lambda connection: rows.set_ready(connection, game["id"], _facts(media)))
    except problems.ProblemError:
        # Deleted meanwhile: an upload that was joined after that has left its object.
        await _remove_object(game, session, store, keys)
        raise


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


async def _stored(store: ObjectStore, key: str) -> ObjectInfo:
    try:
        return await store.head(key)
    except ObjectMissing as error:
        raise problems.CONFLICT.error(
            "Nothing was uploaded yet: PUT the file to the URL of prepare-upload, then finalize again"
        ) from error


async def _discard(game: Row, session: Session, store: ObjectStore, keys: ProfileKeys) -> None:
    """Removes row and object of an upload that cannot be used, unless another request has finished it meanwhile."""
    if not await session.write(lambda connection: rows.discard(connection, game["id"])):
        found = await session.read(lambda connection: rows.find(connection, game["id"]))
        if found is not None:
            raise problems.CONFLICT.error(f"Another request has finished the upload of game {game['id']!r} meanwhile")
    await _remove_object(game, session, store, keys)


async def _remove_object(game: Row, session: Session, store: ObjectStore, keys: ProfileKeys) -> None:
    """The row's end first, and in R2: a file without a row is waste, a row without its file is a broken game."""
    await session.settle()
    await store.delete_prefix(keys.game_folder(game["id"]))


def _facts(media: MediaInfo) -> dict[str, Any]:
    return {
        "duration_s": media.duration_s,
        "width": media.video.width,
        "height": media.video.height,
        "video_codec": media.video.codec,
        "audio_codec": media.audio.codec if media.audio else None,
    }
