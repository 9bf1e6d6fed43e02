"""A profile that is deleted and made again: no Machine writes the deleted one, and none brings it back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import apsw
import pytest
from tests.backend.fakes import FakeStore
from tests.backend.replication.conftest import CONTEXT, PROFILE, REPLICA, GoTools, Server

from app.problems import ProblemError
from app.profiles.registry import Profiles
from app.replication import deletion
from app.replication.databases import ReplicatedDatabases
from app.replication.layout import EMPTIED, SNAPSHOT, FileRef, transaction
from app.replication.operator import NothingThere, Operator
from app.settings import Settings
from app.storage.interface import ObjectInfo, ObjectStore
from app.storage.keys import Keys
from app.storage.r2 import R2Store
from app.sync.interface import SyncConflict, SyncDamaged, SyncError

KEYS = Keys("staging")
MONTH = 30 * 86400.0
Start = Callable[..., ReplicatedDatabases]


@pytest.fixture
def profiles(store: FakeStore) -> Profiles:
    return registry_on(store)


@pytest.fixture
async def start(make_settings: Callable[..., Settings], store: FakeStore) -> AsyncIterator[Start]:
    """Machines on the store in memory; they never look for newer files before a read, as one that is frozen."""
    made: list[ReplicatedDatabases] = []

    def machine() -> ReplicatedDatabases:
        made.append(ReplicatedDatabases(store, KEYS, make_settings(SYNC_READ_CHECK="never")))
        return made[-1]

    yield machine
    store.faults.clear()
    for each in made:
        await each.close()


def registry_on(store: ObjectStore) -> Profiles:
    return Profiles(store, KEYS, 30.0, MONTH)


async def create(profiles: Profiles) -> None:
    await profiles.create(CONTEXT.user_id, "Main", CONTEXT.profile_id)


async def write(machine: ReplicatedDatabases, key: str) -> None:
    async with machine.session(CONTEXT) as session:
        await session.write(
            lambda c: c.execute("INSERT OR REPLACE INTO settings VALUES (?, '1', 'now')", (key,)) and None
        )


async def read(machine: ReplicatedDatabases) -> set[str]:
    def keys(connection: apsw.Connection) -> set[str]:
        return {key for (key,) in connection.execute("SELECT key FROM settings")}

    async with machine.session(CONTEXT) as session:
        return await session.read(keys)


async def repeated(work: Callable[[], object], most: int = 5) -> None:
    """As a client does: again after a conflict."""
    for _ in range(most):
        with contextlib.suppress(SyncConflict):
            await work()  # type: ignore[misc]
            return
    raise AssertionError("no end of conflicts")


def held(store: FakeStore) -> set[bytes]:
    """What lies below the profile."""
    return {data for key, (data, _, _) in store.objects.items() if key.startswith(PROFILE.prefix)}


async def test_no_machine_writes_a_deleted_profile_wherever_it_stopped(
    start: Start, store: FakeStore, profiles: Profiles
) -> None:
    await create(profiles)
    machines = [start() for _ in range(4)]
    for number, machine in enumerate(machines):
        for again in range(3):
            await repeated(lambda: write(machine, f"m{number}-{again}"))  # noqa: B023
    await profiles.delete(CONTEXT)
    assert held(store) == {EMPTIED}
    before = store.keys()
    for machine in machines:
        for _ in range(3):
            with pytest.raises(SyncError):
                await write(machine, "late")
    assert (store.keys(), held(store)) == (before, {EMPTIED})


async def test_a_profile_made_again_is_empty_for_every_machine_and_each_can_write_it(
    start: Start, store: FakeStore, profiles: Profiles
) -> None:
    await create(profiles)
    machines = [start() for _ in range(3)]
    for number, machine in enumerate(machines):
        await repeated(lambda: write(machine, f"old{number}"))  # noqa: B023
    await profiles.delete(CONTEXT)
    with pytest.raises(SyncError):
        await write(machines[0], "late")
    await create(profiles)
    for number, machine in enumerate(machines):
        await repeated(lambda: write(machine, f"new{number}"))  # noqa: B023
    assert await read(start()) == {"new0", "new1", "new2"}
    await profiles.delete(CONTEXT)
    assert held(store) == {EMPTIED}
    await create(profiles)
    assert await read(start()) == set()


async def test_a_profile_can_be_deleted_while_it_is_written(start: Start, store: FakeStore, profiles: Profiles) -> None:
    await create(profiles)
    machine = start()
    await write(machine, "first")

    async def client(name: str) -> None:
        with contextlib.suppress(SyncError):
            for number in range(1_000_000):
                await write(machine, f"{name}{number}")

    clients = [asyncio.ensure_future(client(name)) for name in "abcd"]
    await store.called("put", REPLICA, times=20)
    async with asyncio.timeout(20):
        await profiles.delete(CONTEXT)
        await asyncio.gather(*clients)
    # A merge that was under way may come behind; no row does.
    assert {data for key, (data, _, _) in store.objects.items() if "/0000/" in key} == {EMPTIED}
    await create(profiles)
    assert await read(start()) == set()


async def test_a_machine_that_opens_a_deleted_profile_serves_nothing_of_it(
    start: Start, store: FakeStore, profiles: Profiles
) -> None:
    await create(profiles)
    await write(start(), "k")
    await profiles.delete(CONTEXT)
    for work in (read, lambda machine: write(machine, "late")):
        with pytest.raises(SyncDamaged, match="was emptied when the profile was deleted"):
            await work(start())
    assert held(store) == {EMPTIED}


@pytest.mark.parametrize("left", ["a transaction", "nothing"])
async def test_what_an_earlier_release_left_of_a_deletion_is_no_obstacle(
    start: Start, store: FakeStore, profiles: Profiles, left: str
) -> None:
    await create(profiles)
    machine = start()
    for number in range(3):
        await write(machine, f"k{number}")
    third = REPLICA + transaction(3).name
    kept = store.objects[third]
    await profiles.delete(CONTEXT)
    store.objects = {key: found for key, found in store.objects.items() if not key.startswith(PROFILE.prefix)}
    if left == "a transaction":
        store.objects[third] = kept
    await create(profiles)
    assert await read(start()) == set()
    await write(start(), "new")
    assert await read(start()) == {"new"}


async def test_of_two_that_make_a_profile_again_one_does_and_it_is_whole(start: Start, store: FakeStore) -> None:
    here, there = registry_on(store), registry_on(store)
    await create(here)
    await write(start(), "old")
    await here.delete(CONTEXT)
    found = await asyncio.gather(create(here), create(there), return_exceptions=True)
    assert sorted(isinstance(error, ProblemError) for error in found) == [False, True]
    await write(start(), "new")
    assert await read(start()) == {"new"}


async def test_a_deletion_that_another_one_overtook_is_not_over_before_that(
    start: Start, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = registry_on(store), registry_on(store)
    await create(here)
    await write(start(), "k")
    honest, going_on, began = deletion.empty, [asyncio.Event(), asyncio.Event()], iter(range(2))

    async def held_up(*arguments: Any) -> int:
        await going_on[next(began)].wait()
        return await honest(*arguments)

    monkeypatch.setattr(deletion, "empty", held_up)
    first = asyncio.ensure_future(here.delete(CONTEXT))
    await store.called("put", "profiles.json", times=2)
    second = asyncio.ensure_future(there.delete(CONTEXT))
    await store.called("put", "profiles.json", times=3)
    going_on[0].set()
    await first
    # A profile that began now would lose its first files to the second one.
    with pytest.raises(ProblemError, match="already"):
        await create(here)
    going_on[1].set()
    await second
    await create(here)
    assert await read(start()) == set()


async def test_an_operator_is_told_of_the_deletion_and_finds_the_next_database_sound(
    start: Start, store: FakeStore, profiles: Profiles, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await create(profiles)
    machine = start()
    for number in range(5):
        await write(machine, f"old{number}")
    await profiles.delete(CONTEXT)
    operator = Operator(store, PROFILE)
    for work in (operator.files(), operator.take_over(tmp_path_factory.mktemp("scratch"))):
        with pytest.raises(NothingThere, match="deleted"):
            await work
    await create(profiles)
    await repeated(lambda: write(machine, "new"))
    report = await operator.verify(tmp_path_factory.mktemp("scratch"))
    assert report.problems == ()
    problems = {file.problem for file in await operator.dated(await operator.files())}
    assert problems == {"", "emptied when the profile was deleted"}


def test_what_is_older_than_the_retention_is_deleted_and_transactions_since_are_emptied() -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)

    def item(name: str, days: float, size: int = 500) -> ObjectInfo:
        return ObjectInfo(PROFILE.prefix + name, size, '"e"', None, now - timedelta(days=days))

    old, young = transaction(1).name, transaction(2).name
    found = [
        item("games/g/source.mp4", 1),
        item("database.sqlite", 1),
        item(f"database/{old}", 31),
        item(f"database/{young}", 29),
        item(f"database/{transaction(3).name}", 1, len(EMPTIED)),
        item(f"database/{FileRef(1, 1, 32).name}", 1),
        item(f"database/{FileRef(SNAPSHOT, 1, 2).name}", 1),
        item("database/0000/else", 1),
    ]
    gone, emptied = deletion.plan(found, REPLICA, now.timestamp(), MONTH)
    assert emptied == [REPLICA + young]
    assert gone == [item.key for number, item in enumerate(found) if number not in (3, 4)]


async def test_litestream_restores_a_profile_that_was_made_again(
    go_tools: GoTools, server: Server, r2: R2Store
) -> None:
    profiles = registry_on(r2)
    machine = ReplicatedDatabases(r2, KEYS, server.settings())
    await create(profiles)
    for number in range(3):
        await write(machine, f"old{number}")
    await profiles.delete(CONTEXT)
    await create(profiles)
    for number in range(3):
        await repeated(lambda: write(machine, f"new{number}"))  # noqa: B023
    await machine.close()
    (go_tools.folder / "restored.db").write_bytes(await go_tools.restore())
    connection = apsw.Connection(str(go_tools.folder / "restored.db"))
    assert {key for (key,) in connection.execute("SELECT key FROM settings")} == {"new0", "new1", "new2"}
    connection.close()
