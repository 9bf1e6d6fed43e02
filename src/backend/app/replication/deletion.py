"""The end of a profile's replica, and the beginning of the next one under the same id.

A Machine may not have heard of the deletion, or sleep through it. So a deleted replica keeps the names of its
transactions, with ``EMPTIED`` in them: each writer finds the one taken that it would create next, wherever it stopped.
What is older than the retention goes, as it does in a living replica.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.db import schema
from app.replication.layout import EMPTIED, SNAPSHOT, FileRef, highest, parse_name, transaction
from app.replication.local import LocalDatabase
from app.replication.ltx import Header, encode
from app.replication.object_replica import ObjectReplica
from app.replication.store import FileExists, NewFile, StoreError
from app.storage.interface import ObjectInfo, ObjectStore, StorageUnavailable
from app.storage.keys import ProfileKeys

_PARALLEL = 8


async def empty(store: ObjectStore, keys: ProfileKeys, retention: float) -> int:
    """Take away all that the profile holds; how many objects that was. From then on no one can write its database.

    What was interrupted can be done again. Raises ``StorageUnavailable``.
    """
    with _as_unavailable():
        await _stop_writers(ObjectReplica(store, keys))
    limit, count = asyncio.Semaphore(_PARALLEL), 0

    async def blank(key: str) -> None:
        async with limit:
            await store.put_bytes(key, EMPTIED)

    # Until there is nothing: a merge that was on its way may come while the rest goes.
    while any(planned := plan(await store.list(keys.prefix), keys.database_folder, store.sure_date(), retention)):
        gone, emptied = planned
        await store.delete_many(gone)
        await asyncio.gather(*(blank(key) for key in emptied))
        count += len(gone) + len(emptied)
    return count


async def begin_again(store: ObjectStore, keys: ProfileKeys) -> bool:
    """Let a new, empty database follow the emptied transactions; False, and nothing done, where something else does.

    It is a snapshot, so that whoever opens the profile looks at nothing older, and Machines that still have the
    deleted database go on with the new one. Doing it twice, or twice at once, is doing it once.
    """
    replica = ObjectReplica(store, keys)
    with _as_unavailable():
        files = (await replica.list()).files
        last = _last_emptied(files)
        first = FileRef(SNAPSHOT, 1, last + 1)
        rest = [file.name for file in files if file.max_txid > last]
        if not last or rest not in ([], [first.name]):
            return False
        if not rest:
            with contextlib.suppress(FileExists):
                await replica.create(await asyncio.to_thread(_new_database, first))
    return True


def plan(
    found: Sequence[ObjectInfo], database_folder: str, date: float, retention: float
) -> tuple[list[str], list[str]]:
    """The keys that are deleted and those that are emptied, of all ``found`` at the store's time ``date``."""
    gone, emptied = [], []
    for item in found:
        ref = parse_name(item.key.removeprefix(database_folder), item.size)
        if ref is None or ref.level or (item.modified and date - item.modified.timestamp() > retention):
            gone.append(item.key)
        elif not is_emptied(ref):
            emptied.append(item.key)
    return gone, emptied


def is_emptied(ref: FileRef) -> bool:
    """Whether it is what a deleted profile leaves of a transaction, by its size: no LTX file is that short."""
    return ref.level == 0 and ref.size == len(EMPTIED)


def is_over(files: Sequence[FileRef]) -> bool:
    """Whether these are the files of a deleted profile."""
    return bool(files) and _last_emptied(files) == highest(files)


def _last_emptied(files: Sequence[FileRef]) -> int:
    return highest(file for file in files if is_emptied(file))


async def _stop_writers(replica: ObjectReplica) -> None:
    """Create the next transaction, as a claim does: whoever writes the profile is fenced by it."""
    ahead = 1
    while not is_over(files := (await replica.list()).files):
        free = range(highest(file for file in files if file.level == 0) + 1, highest(files) + ahead + 1)
        try:
            await _fence(replica, free[-1])
        except FileExists:
            # A busy writer was there first: further ahead it cannot be.
            ahead *= 2
            continue
        for txid in free[:-1]:
            with contextlib.suppress(FileExists):
                await _fence(replica, txid)


async def _fence(replica: ObjectReplica, txid: int) -> None:
    await replica.create(NewFile(transaction(txid), EMPTIED, _now()))


def _new_database(ref: FileRef) -> NewFile:
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        database = LocalDatabase.build(Path(folder) / "database.sqlite", ())
        database.write(schema.migrate)
        image = database.image()
        database.close()
    header = Header(database.page_size, image.commit, ref.min_txid, ref.max_txid, _now(), secrets.randbits(63))
    return NewFile(ref, encode(header, image.pages, dense=True), header.timestamp)


def _now() -> int:
    return time.time_ns() // 1_000_000


@contextlib.contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise StorageUnavailable(str(error)) from error
