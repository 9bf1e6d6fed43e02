"""Whole-file databases of old become TXID 1, whatever they look like, and stay where they are."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.backend.fakes import FakeStore, Fault
from tests.backend.replication.conftest import PROFILE, REPLICA, Machines

from app.db import schema
from app.profiles import settings as profile_settings
from app.replication.errors import Damaged, Lost, NotADatabase, StoreError
from app.replication.layout import transaction
from app.replication.legacy import prepared
from app.replication.local import PAGE_SIZE
from app.replication.ltx import decode
from app.storage.interface import StorageUnavailable

FIRST = REPLICA + transaction(1).name


def whole_file(folder: Path, *, page_size: int = 4096, journal: str = "wal", rows: int = 40) -> bytes:
    """A database as the first version of sync left it."""
    path = folder / f"old-{page_size}-{journal}.sqlite"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA page_size = {page_size}")
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute(
        "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL, updated_at TEXT NOT NULL)"
        " STRICT, WITHOUT ROWID"
    )
    connection.execute("INSERT INTO settings VALUES ('theme', '\"dark\"', 'then')")
    for row in range(rows):
        connection.execute("INSERT INTO settings VALUES (?, ?, 'then')", (f"x{row}", '"' + "y" * 500 + '"'))
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    return path.read_bytes()


@pytest.fixture
async def fleet(tmp_path: Path, store: FakeStore) -> AsyncIterator[Machines]:
    """Machines on the store in memory."""
    made = Machines(tmp_path, store)
    yield made
    await made.close()


async def keep(store: FakeStore, data: bytes) -> None:
    await store.put_bytes(PROFILE.database, data)
    store.calls.clear()


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
@pytest.mark.parametrize("journal", ["wal", "delete"])
async def test_it_becomes_the_first_file_and_stays(
    fleet: Machines, store: FakeStore, tmp_path: Path, page_size: int, journal: str
) -> None:
    old = whole_file(tmp_path, page_size=page_size, journal=journal)
    await keep(store, old)
    replica = fleet.start()
    found, ticket = await replica.read(profile_settings.read)
    await replica.settle(ticket)
    assert found.theme == "dark"
    first = decode(store.objects[FIRST][0])
    assert first.header.page_size == PAGE_SIZE
    assert set(first.pages) == set(range(1, first.header.commit + 1))
    assert store.objects[PROFILE.database][0] == old
    again = fleet.start()
    rows, _ = await again.read(lambda connection: connection.execute("SELECT count(*) FROM settings").get)
    assert rows == 41
    assert (await again.read(schema.version))[0] == len(schema.all_migrations())


async def test_two_machines_at_once_agree_on_one_first_file(fleet: Machines, store: FakeStore, tmp_path: Path) -> None:
    await keep(store, whole_file(tmp_path))
    replicas = [fleet.start() for _ in range(4)]

    def change(connection: object) -> None:
        connection.execute("UPDATE settings SET value = value || ' '")  # type: ignore[attr-defined]

    async def write(number: int) -> int:
        for _ in range(20):
            try:
                _, ticket = await replicas[number].write(change)
                await replicas[number].settle(ticket)
            except Lost:
                # Its client comes again.
                continue
            return 1
        return 0

    assert sum(await asyncio.gather(*(write(number) for number in range(4)))) == 4
    assert store.count("put", FIRST) >= 2
    reader = fleet.start()
    value, _ = await reader.read(
        lambda connection: connection.execute("SELECT value FROM settings WHERE key = 'theme'").get
    )
    assert value == '"dark"' + " " * 4


async def test_an_attempt_that_failed_is_repeated(fleet: Machines, store: FakeStore, tmp_path: Path) -> None:
    await keep(store, whole_file(tmp_path))
    store.faults.append(Fault("put", StorageUnavailable("503"), times=1))
    replica = fleet.start()
    with pytest.raises(StoreError):
        await replica.read(profile_settings.read)
    assert not replica.copy.path.exists()
    assert (await replica.read(profile_settings.read))[0].theme == "dark"


async def test_an_attempt_that_failed_keeps_nothing_of_what_an_earlier_release_has_changed_since(
    fleet: Machines, store: FakeStore, tmp_path: Path
) -> None:
    """Until the first file is there the earlier release goes on writing the whole file, and tells its clients so."""
    await keep(store, whole_file(tmp_path, rows=1))
    store.faults.append(Fault("put", StorageUnavailable("503"), key=FIRST, times=1))
    replica = fleet.start()
    with pytest.raises(StoreError):
        await replica.read(profile_settings.read)
    (tmp_path / "later").mkdir()
    await keep(store, whole_file(tmp_path / "later", rows=5))
    found, _ = await replica.read(lambda connection: connection.execute("SELECT count(*) FROM settings").get)
    assert found == 6


async def test_a_lost_answer_to_the_first_file_is_success(fleet: Machines, store: FakeStore, tmp_path: Path) -> None:
    await keep(store, whole_file(tmp_path))
    store.faults.append(Fault("put", StorageUnavailable("no answer"), times=1, after=True))
    replica = fleet.start()
    with pytest.raises(StoreError):
        await replica.read(profile_settings.read)
    assert (await replica.read(profile_settings.read))[0].theme == "dark"
    assert store.count("put", FIRST) == 1


def broken(old: bytes, how: str) -> bytes:
    match how:
        case "empty":
            return b""
        case "cut":
            return old[: len(old) // 2]
        case "noise":
            return b"<html>Service Unavailable</html>" * 400
        case _:
            middle = len(old) // 2
            return old[:middle] + bytes(4096) + old[middle + 4096 :]


@pytest.mark.parametrize("how", ["empty", "cut", "noise", "zeros"])
async def test_a_broken_one_is_an_error_that_names_it_and_leaves_nothing(
    fleet: Machines, store: FakeStore, tmp_path: Path, how: str
) -> None:
    await keep(store, broken(whole_file(tmp_path), how))
    replica = fleet.start()
    for _ in range(2):
        with pytest.raises(Damaged, match=r"^\.\./database\.sqlite: "):
            await replica.write(lambda connection: connection.execute("DELETE FROM settings"))
    assert store.keys() == [PROFILE.database]
    assert store.count("put") == 0
    assert not list(replica.copy.path.parent.glob("*"))


async def test_an_error_of_the_store_is_not_absence(fleet: Machines, store: FakeStore, tmp_path: Path) -> None:
    await keep(store, whole_file(tmp_path))
    store.faults.append(Fault("get", StorageUnavailable("503"), times=1))
    replica = fleet.start()
    with pytest.raises(StoreError):
        await replica.write(lambda connection: connection.execute("DELETE FROM settings"))
    assert store.count("put") == 0
    assert not replica.copy.path.exists()


def test_what_is_no_database_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(NotADatabase, match="is empty"):
        prepared(b"", tmp_path)
    with pytest.raises(NotADatabase, match="not a sound database"):
        prepared(b"x" * 5000, tmp_path)
