"""The seam as requests use it: bounded, quiet when idle, one profile's trouble not another's."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

import apsw
import pytest
from tests.backend.fakes import FakeStore, Fault

from app.context import UserContext
from app.replication import local
from app.replication.databases import ReplicatedDatabases
from app.replication.layout import transaction
from app.replication.local import LocalDatabase
from app.settings import Settings
from app.storage.interface import StorageUnavailable
from app.storage.keys import Keys, local_database
from app.sync.interface import SyncConflict, SyncDamaged, SyncStatus, SyncUnavailable

Make = Callable[..., ReplicatedDatabases]
KEYS = Keys("staging")
A, B = UserContext("alice", "a"), UserContext("bob", "b")


@pytest.fixture
async def make(make_settings: Callable[..., Settings], store: FakeStore) -> AsyncIterator[Make]:
    """Databases of one Machine each, all on one store."""
    made: list[ReplicatedDatabases] = []

    def databases(**changes: str) -> ReplicatedDatabases:
        settings = make_settings(**changes)
        made.append(ReplicatedDatabases(store, KEYS, settings))
        folders[made[-1]] = settings
        return made[-1]

    folders: dict[ReplicatedDatabases, Settings] = {}
    databases.settings = folders  # type: ignore[attr-defined]
    yield databases
    store.faults.clear()
    for gate in store.gates.values():
        gate.set()
    for each in made:
        await each.close()


def settings_of(make: Make, databases: ReplicatedDatabases) -> Settings:
    found: Settings = make.settings[databases]  # type: ignore[attr-defined]
    return found


def put(key: str, value: str = "1") -> Callable[[apsw.Connection], None]:
    def change(connection: apsw.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?, 'now')", (key, value))

    return change


def keys(connection: apsw.Connection) -> set[str]:
    return {key for (key,) in connection.execute("SELECT key FROM settings")}


async def write(databases: ReplicatedDatabases, context: UserContext, key: str, value: str = "1") -> None:
    async with databases.session(context) as session:
        await session.write(put(key, value))


async def read(databases: ReplicatedDatabases, context: UserContext) -> set[str]:
    async with databases.session(context) as session:
        return await session.read(keys)


def copies(settings: Settings) -> set[str]:
    """Users whose databases lie on the disk."""
    return {path.relative_to(settings.user_data_dir).parts[0] for path in settings.user_data_dir.rglob("*.sqlite")}


def user(number: int) -> UserContext:
    return UserContext(f"u{number}", "p")


async def test_past_the_count_what_was_used_least_recently_leaves_the_disk_and_comes_back(make: Make) -> None:
    databases = make(SYNC_MAX_CACHED_PROFILES="3", SYNC_MAX_OPEN_PROFILES="2")
    for number in range(6):
        await write(databases, user(number), "k")
    assert copies(settings_of(make, databases)) == {"u3", "u4", "u5"}
    assert await read(databases, user(0)) == {"k"}
    assert copies(settings_of(make, databases)) == {"u4", "u5", "u0"}


async def test_past_the_bytes_what_was_used_least_recently_leaves_the_disk(make: Make) -> None:
    databases = make(SYNC_MAX_CACHED_BYTES="700000")
    for number in range(6):
        await write(databases, user(number), "k", "x" * 200_000)
    settings = settings_of(make, databases)
    assert "u5" in copies(settings)
    assert "u0" not in copies(settings)
    held = sum(
        path.stat().st_size for path in settings.user_data_dir.rglob("*.sqlite*") if path.suffix != ".sqlite-shm"
    )
    assert held <= 700_000 + 300_000
    assert await read(databases, user(0)) == {"k"}


async def test_a_session_asks_the_disk_for_its_own_copy_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    databases = make(SYNC_MAX_OPEN_PROFILES="4")
    for number in range(100):
        await write(databases, user(number), "k")
    asked: list[Path] = []
    honest: Any = LocalDatabase.disk_bytes

    def counted(database: LocalDatabase) -> int:
        asked.append(database.path)
        return int(honest.fget(database))

    monkeypatch.setattr(LocalDatabase, "disk_bytes", property(counted))
    folder = settings_of(make, databases).user_data_dir
    for number in range(70):
        assert await read(databases, user(number)) == {"k"}
    assert asked == [local_database(folder, user(number)) for number in range(70)]


async def test_no_more_connections_are_open_than_may_be(make: Make) -> None:
    databases = make(SYNC_MAX_OPEN_PROFILES="4")
    for number in range(30):
        await write(databases, user(number), "k")
    entries = databases._entries
    async with asyncio.timeout(60):
        while any(entry.replica.busy for entry in entries.values()):  # noqa: ASYNC110 - maintenance has no one who waits
            await asyncio.sleep(0.001)
    await read(databases, user(7))
    copies = {context: entry.replica.copy.database for context, entry in entries.items()}
    held = {context for context, copy in copies.items() if copy is not None and copy._connection is not None}
    assert (len(copies), held) == (30, {user(number) for number in (7, 27, 28, 29)})


async def test_rows_that_the_store_lacks_are_never_evicted(make: Make, store: FakeStore) -> None:
    databases = make(SYNC_MAX_CACHED_PROFILES="1", SYNC_MAX_OPEN_PROFILES="1")
    await write(databases, A, "first")
    store.gates["put"] = asyncio.Event()
    pending = asyncio.ensure_future(write(databases, A, "second"))
    await store.called("put", KEYS.profile(A).database_folder, times=3)
    # Its client goes away; the row stays, and is uploaded.
    pending.cancel()
    await asyncio.gather(pending, return_exceptions=True)
    for number in range(4):
        assert await read(databases, user(number)) == set()
    assert local_database(settings_of(make, databases).user_data_dir, A).exists()
    store.gates.pop("put").set()
    assert await read(databases, A) == {"first", "second"}
    elsewhere = make()
    assert await read(elsewhere, A) == {"first", "second"}


async def test_a_profile_that_is_used_again_while_it_is_evicted_waits_for_that(make: Make) -> None:
    databases = make(SYNC_MAX_CACHED_PROFILES="1", SYNC_MAX_OPEN_PROFILES="1")
    expected: dict[UserContext, set[str]] = {user(number): set() for number in range(4)}

    async def use(number: int, round_: int) -> None:
        await write(databases, user(number), f"k{round_}")
        expected[user(number)].add(f"k{round_}")

    for round_ in range(10):
        await asyncio.gather(*(use(number, round_) for number in range(4)), *(read(databases, c) for c in expected))
    for context, rows in expected.items():
        assert await read(databases, context) == rows
    elsewhere = make()
    for context, rows in expected.items():
        assert await read(elsewhere, context) == rows


async def test_a_copy_is_not_made_while_the_one_before_it_is_still_let_go(make: Make) -> None:
    """Both lie at the same path: what is removed late would be the new one's file."""
    databases = make()
    await write(databases, A, "k")
    replica, go = databases._entries[A].replica, asyncio.Event()
    honest = replica.close

    async def close(*, release_seconds: float = 0.0) -> None:
        await go.wait()
        await honest(release_seconds=release_seconds)

    with mock.patch.object(replica, "close", close):
        forgetting = asyncio.ensure_future(databases.forget(A))
        await asyncio.sleep(0)
        reading = asyncio.ensure_future(read(databases, A))
        for _ in range(10):
            await asyncio.sleep(0)
        made = A in databases._entries
        go.set()
        assert await reading == {"k"}
        assert not made
        await forgetting


async def test_a_caller_that_goes_away_does_not_stop_a_copy_from_being_let_go(make: Make) -> None:
    """It may be a client that met an eviction, and writes of others may still be under way."""
    databases = make()
    await write(databases, A, "k")
    replica, go = databases._entries[A].replica, asyncio.Event()
    honest, closed = replica.close, asyncio.Event()

    async def close(*, release_seconds: float = 0.0) -> None:
        await go.wait()
        await honest(release_seconds=release_seconds)
        closed.set()

    with mock.patch.object(replica, "close", close):
        forgetting = asyncio.ensure_future(databases.forget(A))
        await asyncio.sleep(0)
        forgetting.cancel()
        await asyncio.wait((forgetting,))
        go.set()
        assert await read(databases, A) == {"k"}
    assert closed.is_set()


async def test_databases_that_were_closed_open_nothing_any_more(make: Make) -> None:
    databases = make()
    await write(databases, A, "k")
    await databases.close()
    with pytest.raises(SyncUnavailable):
        await read(databases, A)
    assert not databases._entries


async def test_a_profile_that_was_forgotten_in_use_is_not_written_by_the_old_session(
    make: Make, store: FakeStore
) -> None:
    databases = make()
    await write(databases, A, "k")
    async with databases.session(A) as session:
        await databases.forget(A)
        with pytest.raises(SyncUnavailable, match="closed"):
            await session.write(put("late"))
    assert await read(databases, A) == {"k"}


@pytest.mark.parametrize("harm", ["deleted", "noise", "foreign"])
async def test_a_copy_that_the_disk_spoiled_is_built_again(make: Make, harm: str) -> None:
    databases = make()
    for number in range(3):
        await write(databases, A, f"k{number}")
    path = local_database(settings_of(make, databases).user_data_dir, A)
    async with asyncio.timeout(60):
        while not await databases._entries[A].replica.rest():  # noqa: ASYNC110 - maintenance has no one who waits for it
            await asyncio.sleep(0.001)
    log = path.with_name(path.name + "-wal")
    match harm:
        case "deleted":
            path.unlink()
            log.unlink()
        case "noise":
            path.write_bytes(b"noise" * 4096)
            log.unlink()
        case _:
            foreign = apsw.Connection(str(path))
            foreign.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            foreign.execute("INSERT INTO settings VALUES ('foreign', '1', 'now')")
            foreign.close()
    for _ in range(3):
        try:
            await write(databases, A, "late")
            break
        except SyncUnavailable:
            continue
    expected = {"k0", "k1", "k2", "late"}
    assert await read(databases, A) == await read(make(), A) == expected


async def test_a_disk_that_is_full_while_another_machines_file_comes_in_leaves_no_half_of_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = make(SYNC_READ_CHECK="always"), make()
    await write(there, A, "first", "x" * 5000)
    assert await read(here, A) == {"first"}
    await write(there, A, "second", "y" * 5000)
    real, left_out = local.write_pages, set[int]()

    def until_full(file: BinaryIO, pages: dict[int, bytes], page_size: int) -> None:
        half = dict(sorted(pages.items())[: len(pages) // 2])
        left_out.update(set(pages) - set(half))
        real(file, half, page_size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(local, "write_pages", until_full)
    with pytest.raises(SyncUnavailable, match="No space left"):
        await read(here, A)
    assert left_out
    assert not local_database(settings_of(make, here).user_data_dir, A).exists()
    monkeypatch.setattr(local, "write_pages", real)
    assert await read(here, A) == {"first", "second"}


async def test_idle_profiles_cost_no_call(make: Make, store: FakeStore) -> None:
    databases = make()
    for number in range(20):
        await write(databases, user(number), "k")
    store.calls.clear()
    loop = asyncio.get_running_loop()
    # An upload ends just after the answer that waited for it.
    if uploads := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(uploads, timeout=60)
    # Nothing is scheduled either: no timer can ever make a call.
    assert [handle for handle in loop._scheduled if not handle.cancelled()] == []  # type: ignore[attr-defined]
    assert len(asyncio.all_tasks()) == 1
    assert store.calls == []


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the resident size is read from /proc")
async def test_a_thousand_idle_profiles_take_little_memory(make: Make, store: FakeStore) -> None:
    """`pytest -s` shows the figure: growth of the resident size, the open ones of the thousand included."""
    databases = make(SYNC_MAX_OPEN_PROFILES="16")
    for number in range(100):
        await write(databases, user(number), "k")
    before, stored = resident(), held(store)
    for number in range(100, 1100):
        await write(databases, user(number), "k")
    # What the store in memory holds is its own.
    each = (resident() - before - (held(store) - stored)) / 1000
    sys.stdout.write(f"\n{each:.0f} bytes per idle profile\n")
    assert each < 50_000


def held(store: FakeStore) -> int:
    return sum(len(data) for data, _, _ in store.objects.values())


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def test_a_client_that_goes_away_leaves_no_commit_behind(make: Make, store: FakeStore) -> None:
    databases = make()
    await write(databases, A, "k0")
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    def change(connection: apsw.Connection) -> None:
        loop.call_soon_threadsafe(started.set)
        put("k1")(connection)

    async def request() -> None:
        async with databases.session(A) as session:
            await session.write(change)

    task = asyncio.ensure_future(request())
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.called("put", transaction(3).name)
    await databases.close()
    assert await read(make(), A) in ({"k0", "k1"}, {"k0"})
    ours = [key for key in store.objects if "/0000/" in key]
    assert len(ours) == 3


async def test_an_upload_that_hangs_blocks_no_read_of_the_local_copy(make: Make, store: FakeStore) -> None:
    databases = make(SYNC_READ_CHECK="never")
    await write(databases, A, "k")
    store.gates["put"] = asyncio.Event()
    stuck = asyncio.ensure_future(write(databases, A, "a"))
    await store.called("put", transaction(3).name)
    async with databases.session(A) as session:
        assert await session.read(keys) == {"k", "a"}
        store.gates.pop("put").set()
    await stuck


async def test_a_profile_whose_uploads_hang_does_not_hold_another_up(make: Make, store: FakeStore) -> None:
    databases = make()
    await write(databases, A, "k")
    await write(databases, B, "k")
    hanging = asyncio.Event()
    honest = store.put_bytes

    async def slow(key: str, data: bytes, **conditions: object) -> str:
        if "/alice/" in key:
            await hanging.wait()
        return await honest(key, data, **conditions)  # type: ignore[arg-type]

    store.put_bytes = slow  # type: ignore[method-assign]
    stuck = [asyncio.ensure_future(write(databases, A, f"a{number}")) for number in range(20)]
    for number in range(5):
        await write(databases, B, f"b{number}")
    assert not any(task.done() for task in stuck)
    hanging.set()
    await asyncio.gather(*stuck)
    assert len(await read(databases, A)) == 21


async def test_slow_queries_of_one_profile_leave_threads_for_another(make: Make) -> None:
    databases = make()
    await write(databases, A, "k")
    await write(databases, B, "k")
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    begun = asyncio.Event()

    def slow(connection: apsw.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(120)

    async def request() -> None:
        async with databases.session(A) as session:
            await session.read(slow)

    stuck = [asyncio.ensure_future(request()) for _ in range(10)]
    await begun.wait()
    # All of them ask for their thread before the other profile does.
    for _ in range(50):
        await asyncio.sleep(0)
    try:
        async with asyncio.timeout(60):
            assert await read(databases, B) == {"k"}
        assert not any(task.done() for task in stuck)
    finally:
        release.set()
        await asyncio.gather(*stuck)


@pytest.mark.parametrize("operation", ["list", "get", "put"])
async def test_an_error_of_the_store_leaves_no_copy_and_no_upload(make: Make, store: FakeStore, operation: str) -> None:
    first = make()
    await write(first, A, "k")
    await first.close()
    before = store.keys()
    databases = make()
    store.faults.append(Fault(operation, StorageUnavailable("503"), key="/alice/"))
    with pytest.raises(SyncUnavailable):
        await write(databases, A, "late")
    assert store.keys() == before
    if operation != "put":
        assert copies(settings_of(make, databases)) == set()
    await write(databases, B, "other")
    store.faults.clear()
    assert await read(databases, A) == {"k"}


@pytest.mark.parametrize("harm", ["missing", "corrupt", "cut", "foreign"])
async def test_damage_names_the_object_and_stops_that_profile_alone(make: Make, store: FakeStore, harm: str) -> None:
    first = make()
    for number in range(3):
        await write(first, A, f"k{number}")
    await first.close()
    name = KEYS.profile(A).database_folder + transaction(3).name
    data, etag, kind = store.objects[name]
    match harm:
        case "missing":
            del store.objects[name]
        case "corrupt":
            store.objects[name] = (data[:150] + bytes([data[150] ^ 1]) + data[151:], etag, kind)
        case "cut":
            store.objects[name] = (data[:-1], etag, kind)
        case _:
            store.objects[name] = (store.objects[name.replace(transaction(3).name, transaction(2).name)][0], etag, kind)
    before = store.keys()
    databases = make()
    for _ in range(2):
        with pytest.raises(SyncDamaged, match=f"^{name}: ") as caught:
            await write(databases, A, "late")
        assert caught.value.status is SyncStatus.FAILED
    assert store.keys() == before
    assert copies(settings_of(make, databases)) == set()
    await write(databases, B, "other")
    store.objects[name] = (data, etag, kind)
    assert await read(databases, A) == {"k0", "k1", "k2"}


async def test_the_loser_of_a_race_hears_conflict_and_its_repeat_succeeds(make: Make, store: FakeStore) -> None:
    one, two = make(), make()
    await write(one, A, "start")
    conflicts = 0
    for number in range(6):
        for name, databases in (("one", one), ("two", two)):
            while True:
                try:
                    await write(databases, A, f"{name}{number}")
                    break
                except SyncConflict as error:
                    assert error.status is SyncStatus.CONFLICT  # noqa: PT017 - the loop is what is tried
                    conflicts += 1
    assert conflicts > 0
    expected = {"start", *(f"{name}{number}" for name in ("one", "two") for number in range(6))}
    assert await read(one, A) == await read(two, A) == await read(make(), A) == expected


async def test_a_writer_that_slept_past_the_retention_is_fenced(make: Make, store: FakeStore) -> None:
    sleeper, owner = make(SYNC_READ_CHECK="never"), make()
    await write(sleeper, A, "k0")
    asleep = len(store.keys())
    await write(owner, A, "k1")
    async with _aged(store, days=40):
        # What the sleeper would have collided with is deleted behind a snapshot, as retention may.
        from app.replication.log import Options
        from app.replication.replica import Replica

        entry = owner._entries[A]
        assert isinstance(entry.replica, Replica)
        entry.replica.options = Options(read_check=0.0, retention=30 * 86400.0, snapshot_share=-1.0)
        for number in range(64):
            await write(owner, A, f"late{number}")
        while entry.replica.busy:  # noqa: ASYNC110 - maintenance has no one who waits for it
            await asyncio.sleep(0.001)
        folder = KEYS.profile(A).database_folder
        for key in list(store.objects):
            if "/0000/" in key and key <= f"{folder}{transaction(asleep + 8).name}":
                del store.objects[key]
        acknowledged = False
        try:
            await write(sleeper, A, "stale")
            acknowledged = True
        except (SyncConflict, SyncUnavailable):
            pass
        assert not acknowledged
        found = await read(make(), A)
        assert {"k0", "k1", "late0", "late63"} <= found
        assert "stale" not in found
        await write(sleeper, A, "repeat")
        assert "repeat" in await read(make(), A)


@asynccontextmanager
async def _aged(store: FakeStore, days: float) -> AsyncIterator[None]:
    store.clock += days * 86400
    yield
