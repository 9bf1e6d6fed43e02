"""The beginning and the end of a profile's log.

A profile begins with a first file that holds an empty database, and ends with a **fence**: the next transaction is
created with ``EMPTIED`` as its content, as a claim would be. Transactions younger than the retention keep their names,
emptied, so that a Machine finds its next name taken wherever it stopped (docs/replication.md, "Protocol" 1 and 11).

The URL of an upload outlives the profile by an hour. Where one may still be good, an empty object stands under its key
(``app.games.uploads``) for ``urls`` seconds; then ``Profiles.sweep`` calls ``empty`` again.
"""

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from app import side_by_side, timestamps
from app.db import schema
from app.replication.errors import FileExists, StoreError
from app.replication.layout import EMPTIED, FileRef, highest, parse_name, transaction
from app.replication.local import LocalDatabase
from app.replication.object_replica import ObjectReplica
from app.replication.store import NewFile, new_file
from app.storage.interface import ObjectInfo, ObjectStore, StorageUnavailable
from app.storage.keys import ProfileKeys

FIRST = transaction(1)
_PARALLEL = 8


async def begin(store: ObjectStore, keys: ProfileKeys) -> None:
    """Create the log's first file, unless there is one. Raises ``StorageUnavailable``."""
    with _as_unavailable(), contextlib.suppress(FileExists):
        await ObjectReplica(store, keys).create(await asyncio.to_thread(_first_file))


async def empty(store: ObjectStore, keys: ProfileKeys, retention: float, urls: float = 0.0) -> int:
    """Take away all that the profile holds; how many objects that was. From then on no Machine can write its database.

    Emptied transactions stay for ``retention`` seconds, empty objects in place of uploads for ``urls`` seconds. Called
    again, it finishes what was interrupted. Raises ``StorageUnavailable``.
    """
    with _as_unavailable():
        fence = await _fence(ObjectReplica(store, keys))
    count = 0
    # Until there is nothing left: a merge or an upload that was on its way may arrive while the rest goes.
    while any(planned := plan(await store.list(keys.prefix), keys, fence, store.sure_date(), retention, urls)):
        gone, emptied = planned
        await store.delete_many(gone)
        await side_by_side.each(lambda key: store.put_bytes(key, EMPTIED), emptied, _PARALLEL)
        count += len(gone) + len(emptied)
    return count


def plan(
    found: Sequence[ObjectInfo], keys: ProfileKeys, fence: int, date: float, retention: float, urls: float = 0.0
) -> tuple[list[str], list[str]]:
    """The keys to delete and those to empty, of all ``found`` at the store's time ``date``. Files behind ``fence``, the
    TXID of the deletion's own one, stay."""
    gone, emptied = [], []
    for item in found:
        age = date - item.modified.timestamp() if item.modified else 0.0
        if item.size == 0 and age < urls and keys.is_game_source(item.key):
            continue
        ref = parse_name(item.key.removeprefix(keys.database_folder), item.size)
        if ref is None:
            gone.append(item.key)
        elif ref.max_txid > fence or (ref.max_txid == fence and not ref.level):
            continue
        elif ref.level or age > retention:
            gone.append(item.key)
        elif not is_emptied(ref):
            emptied.append(item.key)
    return gone, emptied


def is_emptied(ref: FileRef) -> bool:
    """Whether it is what a deleted profile leaves of a transaction, by its size: no LTX file is that short."""
    return ref.level == 0 and ref.size == len(EMPTIED)


def is_over(files: Sequence[FileRef]) -> bool:
    """Whether these are the files of a deleted profile: its newest transaction is a fence."""
    return bool(files) and highest(file for file in files if is_emptied(file)) == highest(files)


async def _fence(replica: ObjectReplica) -> int:
    """Create the next transaction, as a claim does, unless the log has a fence already. Returns the fence's TXID. Then
    nobody can create a transaction before the fence, even if its creation was reported as failed."""
    ahead = 1
    while not is_over(files := (await replica.list()).files):
        try:
            await _create(replica, highest(files) + ahead)
        except FileExists:
            # A busy writer was there first. It cannot be further ahead than twice as far.
            ahead *= 2
    fence = highest(files)
    # A fence that was created further ahead leaves names before it free, and a writer may go on there. Where no other
    # transaction is left all of them are older than the retention, and a writer that slept so long lists by itself.
    reached = highest(file for file in files if file.level == 0 and file.max_txid < fence)
    for txid in range(reached + 1, fence) if reached else ():
        with contextlib.suppress(FileExists):
            await _create(replica, txid)
    return fence


async def _create(replica: ObjectReplica, txid: int) -> None:
    await replica.create(NewFile(transaction(txid), EMPTIED, timestamps.unix_ms()))


def _first_file() -> NewFile:
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        database = LocalDatabase.build(Path(folder) / "database.sqlite", ())
        database.write(schema.migrate)
        image = database.image()
        database.close()
    size = database.page_size, image.commit
    return new_file(FIRST, size, image.pages, secrets.randbits(63), timestamps.unix_ms())


@contextlib.contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise StorageUnavailable(str(error)) from error
