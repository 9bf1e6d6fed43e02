"""Stores the encoded pieces of an export, a clip or a preview in the bucket until its job has ended.

Fly stops a Machine some minutes after its last request, even if a job runs, and requests to itself do not count. So a
render without a connected client is interrupted. The Machine of the next request continues after the last stored piece
instead of from the beginning. A long clip has several pieces (`reel.render`); only those that took long are stored.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from app.storage.interface import ObjectMissing, ObjectStore, StorageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pieces:
    """A `reel.render.PieceStore` in a folder of the bucket."""

    store: ObjectStore
    folder: str

    async def fetch(self, name: str, path: Path) -> bool:
        try:
            await self.store.download(self.folder + name, path)
        except ObjectMissing:
            return False
        except StorageError as error:
            log.warning("a piece is encoded again: %s", error)
            return False
        return True

    async def keep(self, path: Path, name: str) -> None:
        try:
            await self.store.upload(path, self.folder + name, "video/quicktime")
        except StorageError as error:
            log.warning("a piece is not kept: %s", error)


async def forget(store: ObjectStore, folder: str) -> None:
    """Delete the pieces of a job that has ended. If that fails, the sweep deletes them later."""
    try:
        await store.delete_prefix(folder)
    except StorageError as error:
        log.warning("pieces are removed later: %s", error)
