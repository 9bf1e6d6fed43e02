"""What a Machine has encoded of an export, kept in the bucket until the export is over.

Fly stops a Machine some minutes after its last request, whatever it has to do, and a request that it sends to itself
does not count. So a render that nobody watches is ended in the middle; the Machine of the next request goes on behind
the last piece that took long, instead of from the beginning.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from app.storage.interface import ObjectMissing, ObjectStore, StorageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pieces:
    """A `reel.render.PieceStore` below a folder of the bucket."""

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
    """Remove the pieces of an export that is over; what cannot be removed is swept later."""
    try:
        await store.delete_prefix(folder)
    except StorageError as error:
        log.warning("pieces are removed later: %s", error)
