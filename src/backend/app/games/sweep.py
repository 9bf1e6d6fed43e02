"""Removes what belongs to nothing: uploads that were begun and not finished, files of no game, clip or export, pieces
of exports that were given up, and what reached a deleted profile of the same user late.

Runs in the background, a minute after a Machine met a profile for the first time. An upload ends a day after its
URLs were last asked for; R2 drops the parts of a multipart upload by itself after seven days
(https://developers.cloudflare.com/r2/buckets/object-lifecycles/). A file without a row (a Machine died between the row
and the file, or stored what it had rendered after another one deleted the row) stays for as long as a database can be
restored to an earlier state, which may have that row. An empty file stands where an upload was refused or its game was
deleted (`uploads.remove`); it goes when the upload's URLs have expired.
"""

import logging
from collections.abc import Mapping
from typing import Final

import apsw

from app.context import UserContext
from app.core import Core
from app.db.rows import Row, fetch_all
from app.games import rows, uploads
from app.games.upload_plan import urls_seconds
from app.jobs import steps
from app.storage.interface import ObjectInfo
from app.storage.keys import PIECES

log = logging.getLogger(__name__)

PIECES_SECONDS: Final = 86_400.0
"""An export that is still being rendered renews its pieces more often."""
# Each folder of files, and the rows that they may belong to.
_OWNED: Final = {
    "games": "SELECT id FROM games",
    "clips": "SELECT id FROM clips",
    "exports": "SELECT id FROM jobs WHERE kind = 'export'",
}


async def sweep(core: Core, context: UserContext) -> int:
    """How many uploads and files of the profile were removed. Raises SyncError or StorageError; doing it again is
    safe."""
    settings, store, keys = core.settings, core.store, core.profile_keys(context)
    begun_before = uploads.urls_expire_after(settings)
    listed = [item for folder in _OWNED for item in await store.list(f"{keys.prefix}{folder}/")]
    kept_after = store.sure_date() - settings.sync_retention_days * 86_400.0
    expired_before = store.sure_date() - urls_seconds(settings)
    given_up_before = store.sure_date() - PIECES_SECONDS

    def is_old(item: ObjectInfo) -> bool:
        limit = given_up_before if PIECES in item.key else kept_after if item.size else expired_before
        return item.modified is not None and item.modified.timestamp() < limit

    old = [item.key for item in listed if is_old(item)]

    def look(connection: apsw.Connection) -> tuple[list[str], dict[str, set[str]]]:
        late = fetch_all(
            connection, "SELECT id FROM games WHERE status = 'uploading' AND updated_at < ?", (begun_before,)
        )
        known = {folder: {row["id"] for row in fetch_all(connection, query)} for folder, query in _OWNED.items()}
        return [row["id"] for row in late], known

    # A read: a Machine that only reads a profile must not claim it for this. It comes after the list, so an upload that
    # begins meanwhile has no object in the list.
    async with core.databases.session(context) as session:
        late, known = await session.read(look)
    for game_id in late:
        await _end_upload(core, context, game_id)
    # Pieces go in any case: a later Machine encodes again what it misses.
    without_row = sorted(key for key in old if PIECES in key or not _is_owned(key.removeprefix(keys.prefix), known))
    if without_row:
        await store.delete_many(without_row)
    removed = len(late) + len(without_row) + await core.profiles.sweep(context.user_id)
    if removed:
        log.info("%s: %d unfinished uploads, %d other files removed", context, len(late), removed - len(late))
    return removed


def _is_owned(path: str, known: Mapping[str, set[str]]) -> bool:
    """Whether a file below the profile belongs to a row: `games/ID/…`, `clips/ID.mp4`, `clips/ID-N.mp4`,
    `exports/ID.mp4`."""
    folder, _, rest = path.partition("/")
    name = rest.split("/")[0].removesuffix(".mp4")
    return name in known[folder] or (folder == "clips" and name.rpartition("-")[0] in known[folder])


async def _end_upload(core: Core, context: UserContext, game_id: str) -> None:
    def end(connection: apsw.Connection) -> Row | None:
        game = rows.find(connection, game_id)
        return game if rows.discard(connection, game_id) else None

    keys = core.profile_keys(context)
    game = await steps.write(core.databases, context, end)
    if game is None:
        return  # it was finished or deleted meanwhile
    # No empty file is left: the URLs have expired.
    if game["upload_id"] is not None:
        await core.store.abort_multipart(keys.game_source(game_id, game["extension"]), game["upload_id"])
    await core.store.delete_prefix(keys.game_folder(game_id))
