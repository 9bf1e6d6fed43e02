"""Deletes orphans of a profile in the background, a minute after this Machine first served the profile:

- Unfinished uploads, a day after their URLs were last signed. R2 itself drops the parts of a multipart upload after
  seven days (https://developers.cloudflare.com/r2/buckets/object-lifecycles/).
- Files without a row. They arise when a Machine dies between writing the row and the file, or stores a rendered video
  after another Machine has deleted its row. They stay for `SYNC_RETENTION_DAYS`, because a database that is restored
  to an earlier state may have that row again.
- Empty files, when the upload's URLs have expired. `uploads.remove` leaves one so that the URL of a refused or deleted
  upload cannot create an object.
- Pieces of exports that stopped being rendered, after a day.
- Files that arrived late in the user's deleted profiles.
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
"""Age in seconds from which pieces are deleted. An export that is being rendered rewrites its pieces more often."""
# Folders of files, each with the query for the ids of their rows.
_OWNED: Final = {
    "games": "SELECT id FROM games",
    "clips": "SELECT id FROM clips",
    "exports": "SELECT id FROM jobs WHERE kind = 'export'",
}


async def sweep(core: Core, context: UserContext) -> int:
    """Returns how many uploads and files were deleted. Raises SyncError or StorageError; it is safe to repeat."""
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
        late = rows.unfinished_since(connection, begun_before)
        known = {folder: {row["id"] for row in fetch_all(connection, query)} for folder, query in _OWNED.items()}
        return late, known

    # A read session, because a write would make this Machine the owner. It runs after the list, so that an upload which
    # begins in between is not in the list.
    async with core.databases.session(context) as session:
        late, known = await session.read(look)
    for game_id in late:
        await _end_upload(core, context, game_id, begun_before)
    # Old pieces are deleted even if their export has a row: a Machine encodes missing pieces again.
    without_row = sorted(key for key in old if PIECES in key or not _is_owned(key.removeprefix(keys.prefix), known))
    if without_row:
        await store.delete_many(without_row)
    removed = len(late) + len(without_row) + await core.profiles.sweep(context.user_id)
    if removed:
        log.info("%s: %d unfinished uploads, %d other files removed", context, len(late), removed - len(late))
    return removed


def _is_owned(path: str, known: Mapping[str, set[str]]) -> bool:
    """Whether a file of the profile has a row. Paths: `games/ID/…`, `clips/ID.mp4`, `clips/ID-N.mp4`,
    `exports/ID.mp4`."""
    folder, _, rest = path.partition("/")
    name = rest.split("/")[0].removesuffix(".mp4")
    return name in known[folder] or (folder == "clips" and name.rpartition("-")[0] in known[folder])


async def _end_upload(core: Core, context: UserContext, game_id: str, begun_before: str) -> None:
    def end(connection: apsw.Connection) -> Row | None:
        game = rows.find(connection, game_id)
        return game if rows.discard(connection, game_id, begun_before) else None

    keys = core.profile_keys(context)
    game = await steps.write(core.databases, context, end)
    if game is None:
        return  # the upload went on, was finished or was deleted in the meantime
    # The URLs have expired, so no empty file is needed.
    if game["upload_id"] is not None:
        await core.store.abort_multipart(keys.game_source(game_id, game["extension"]), game["upload_id"])
    await core.store.delete_prefix(keys.game_folder(game_id))
