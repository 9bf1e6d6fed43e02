"""Removes what never became a game: uploads that were begun and not finished, files that belong to no game,
and pieces of exports that were given up.

Runs in the background, a minute after a Machine met a profile for the first time. An upload ends a day after its
URLs were last asked for; R2 drops the parts of a multipart upload by itself after seven days
(https://developers.cloudflare.com/r2/buckets/object-lifecycles/). A file without a row (an upload was repeated behind a
refusal, a Machine died between the row and the file) stays for as long as a database can be restored to an earlier
state, which may have that row. An empty file stands where an upload was refused (`uploads.clear`); it goes when the
upload's URLs have expired.
"""

import logging
import time
from datetime import UTC, datetime
from typing import Final

import apsw

from app.context import UserContext
from app.core import Core
from app.db.rows import Row, fetch_all
from app.games import rows
from app.jobs import steps
from app.storage.keys import PIECES

log = logging.getLogger(__name__)

UPLOAD_SECONDS: Final = 86_400.0
"""Longer than any presigned URL of an upload is good for by default."""


async def sweep(core: Core, context: UserContext) -> int:
    """How many uploads and files of the profile were removed. Raises SyncError or StorageError; doing it again is
    safe."""
    settings, store, keys = core.settings, core.store, core.profile_keys(context)
    oldest = max(UPLOAD_SECONDS, float(settings.presign_seconds))
    begun_before = datetime.fromtimestamp(time.time() - oldest, UTC).isoformat(timespec="milliseconds")
    games_folder = f"{keys.prefix}games/"
    listed = await store.list(games_folder)
    kept_after = store.sure_date() - settings.sync_retention_days * 86_400.0
    expired_before = store.sure_date() - oldest
    old = {
        item.key
        for item in listed
        if item.modified is not None and item.modified.timestamp() < (kept_after if item.size else expired_before)
    }

    def look(connection: apsw.Connection) -> tuple[list[str], set[str]]:
        found = fetch_all(connection, "SELECT * FROM games")
        late = [row["id"] for row in found if row["status"] == "uploading" and row["updated_at"] < begun_before]
        return late, {row["id"] for row in found}

    # A read: a Machine that only reads a profile must not claim it for this. It comes after the list, so an upload that
    # begins meanwhile has no object in the list.
    async with core.databases.session(context) as session:
        late, known = await session.read(look)
    for game_id in late:
        await _end_upload(core, context, game_id)
    without_row = sorted(key for key in old if key.removeprefix(games_folder).split("/")[0] not in known)
    if without_row:
        await store.delete_many(without_row)
    # Of exports that were given up: a later Machine encodes again what it misses.
    pieces = [
        item.key
        for item in await store.list(f"{keys.prefix}exports/")
        if PIECES in item.key
        and item.modified is not None
        and item.modified.timestamp() < store.sure_date() - UPLOAD_SECONDS
    ]
    if pieces:
        await store.delete_many(pieces)
    removed = len(late) + len(without_row) + len(pieces)
    if removed:
        log.info("%s: %d unfinished uploads, %d other files removed", context, len(late), removed - len(late))
    return removed


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
