"""A profile that is deleted: no Machine writes it any more, nothing brings it back, and no later profile is hit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import apsw
import pytest
from tests.backend.fakes import FakeStore, Fault
from tests.backend.replication.conftest import CONTEXT, PROFILE, REPLICA

from app.context import UserContext
from app.problems import ProblemError
from app.profiles.model import DELETED
from app.profiles.registry import Profiles
from app.replication import deletion
from app.replication.databases import ReplicatedDatabases
from app.replication.errors import NothingThere
from app.replication.layout import EMPTIED, SNAPSHOT, FileRef, transaction
from app.replication.operator import Operator
from app.settings import Settings
from app.storage.interface import ObjectInfo, ObjectStore, StorageUnavailable
from app.storage.keys import Keys
from app.sync.interface import SyncConflict, SyncError, SyncGone

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
    async with asyncio.timeout(60):
        await profiles.delete(CONTEXT)
        await asyncio.gather(*clients)
    # A merge that was under way may come behind; no row does.
    assert {data for key, (data, _, _) in store.objects.items() if "/0000/" in key} == {EMPTIED}
    with pytest.raises(ProblemError, match="deleted"):
        await create(profiles)


async def test_a_machine_that_opens_a_deleted_profile_serves_nothing_of_it(
    start: Start, store: FakeStore, profiles: Profiles
) -> None:
    await create(profiles)
    await write(start(), "k")
    await profiles.delete(CONTEXT)
    for work in (read, lambda machine: write(machine, "late")):
        with pytest.raises(SyncGone, match="was emptied when the profile was deleted"):
            await work(start())
    assert held(store) == {EMPTIED}


@pytest.mark.parametrize("held_up", ["list", "put", "delete_many"])
async def test_a_deletion_that_was_frozen_takes_nothing_of_what_came_later(
    start: Start, store: FakeStore, profiles: Profiles, held_up: str
) -> None:
    """It stops before a request of each kind; another Machine finishes the deletion, and a new profile begins."""
    await create(profiles)
    machine = start()
    for number in range(3):
        await write(machine, f"old{number}")
    there = registry_on(store)
    gate = store.gates[held_up] = asyncio.Event()
    first = asyncio.ensure_future(profiles.delete(CONTEXT))
    await store.called(held_up, times=store.count(held_up) + 1)
    del store.gates[held_up]
    await there.delete(CONTEXT)
    with pytest.raises(ProblemError, match="deleted"):
        await create(there)
    entry, _ = await there.create(CONTEXT.user_id, "Main", None)
    successor = UserContext(CONTEXT.user_id, entry.id)
    async with machine.session(successor) as session:
        await session.write(lambda c: c.execute("INSERT INTO settings VALUES ('new', '1', 'now')") and None)
    before = {key: store.objects[key] for key in list(store.objects) if f"/{entry.id}/" in key}
    gate.set()
    await asyncio.gather(first, return_exceptions=True)
    assert {key: store.objects[key] for key in list(store.objects) if f"/{entry.id}/" in key} == before
    assert held(store) == {EMPTIED}
    with pytest.raises(ProblemError, match="deleted"):
        await there.exists(CONTEXT)


async def test_a_fence_that_was_created_further_ahead_leaves_no_writer_a_free_name(
    start: Start, store: FakeStore, profiles: Profiles
) -> None:
    """Its attempt ended there, or the answer was lost: what is left of it to do is done by the next one."""
    await create(profiles)
    machine = start()
    await write(machine, "before")
    fence = 1 + max(int(key[-20:-4], 16) for key in store.objects if key.startswith(REPLICA + "0000/"))
    await store.put_bytes(REPLICA + transaction(fence + 2).name, EMPTIED)
    await deletion.empty(store, PROFILE, MONTH)
    assert store.objects[REPLICA + transaction(fence).name][0] == EMPTIED
    with pytest.raises(SyncError):
        await write(machine, "after")


async def test_a_deletion_touches_no_file_behind_its_own_fence(store: FakeStore, profiles: Profiles) -> None:
    await create(profiles)
    await deletion.empty(store, PROFILE, MONTH)
    # As an operator's command of an earlier release leaves it.
    behind = [REPLICA + FileRef(SNAPSHOT, 1, 3).name, REPLICA + transaction(3).name]
    store.objects |= dict.fromkeys(behind, (b"LTX1" * 50, '"e"', ""))
    fence = 2
    gone, emptied = deletion.plan(await store.list(PROFILE.prefix), PROFILE, fence, store.sure_date(), MONTH)
    assert not {*gone, *emptied} & set(behind)


async def test_an_operator_is_told_of_the_deletion_and_can_bring_nothing_back(
    start: Start, store: FakeStore, profiles: Profiles, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await create(profiles)
    machine = start()
    for number in range(5):
        await write(machine, f"old{number}")
    await profiles.delete(CONTEXT)
    operator = Operator(store, PROFILE)
    scratch = tmp_path_factory.mktemp("scratch")
    for work in (operator.files(), operator.take_over(scratch), operator.replace(b"x", scratch, over=True)):
        with pytest.raises(NothingThere, match="deleted"):
            await work


def test_an_empty_object_in_place_of_an_upload_stays_until_the_urls_have_expired() -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)

    def planned(name: str, size: int, hours: float) -> bool:
        item = ObjectInfo(PROFILE.prefix + name, size, '"e"', None, now - timedelta(hours=hours))
        gone, _ = deletion.plan([item], PROFILE, 5, now.timestamp(), MONTH, 86_400.0)
        return gone == [item.key]

    assert not planned("games/g/source.mp4", 0, 23)
    assert planned("games/g/source.mp4", 0, 25)
    assert planned("games/g/source.mp4", 1, 1)
    assert planned("games/g/preview.mp4", 0, 1)
    assert planned("clips/source.mp4", 0, 1)


async def test_what_a_deleted_profile_leaves_is_swept_and_then_not_looked_for_again(
    start: Start, store: FakeStore
) -> None:
    profiles = Profiles(store, KEYS, 30.0, MONTH, 86_400.0)
    store.clock = datetime.now(UTC).timestamp()
    await create(profiles)
    await write(start(), "k")
    await profiles.delete(CONTEXT)
    late = f"{PROFILE.prefix}games/g/source.mp4"
    await store.put_bytes(late, b"x")
    assert (await profiles.sweep(CONTEXT.user_id), late in store.objects) == (0, True)
    store.clock += 2 * 86_400.0
    assert (await profiles.sweep(CONTEXT.user_id), late in store.objects) == (1, False)
    assert held(store) == {EMPTIED}
    store.clock += MONTH
    # All but the fence.
    assert await profiles.sweep(CONTEXT.user_id) > 0
    assert len([key for key in store.objects if key.startswith(PROFILE.prefix)]) == 1
    before = store.count("list")
    assert await profiles.sweep(CONTEXT.user_id) == 0
    assert store.count("list") == before
    with pytest.raises(ProblemError, match="deleted"):
        await create(profiles)


async def test_a_deletion_that_was_interrupted_is_finished_by_the_sweep(start: Start, store: FakeStore) -> None:
    profiles = Profiles(store, KEYS, 30.0, MONTH, 86_400.0)
    store.clock = datetime.now(UTC).timestamp()
    await create(profiles)
    await write(start(), "k")
    store.faults.append(Fault("delete_many", StorageUnavailable("down")))
    store.objects[f"{PROFILE.prefix}clips/c.mp4"] = (b"x", '"e"', "")
    with pytest.raises(StorageUnavailable):
        await profiles.delete(CONTEXT)
    store.faults.clear()
    store.clock += 2 * 86_400.0
    assert await profiles.sweep(CONTEXT.user_id) > 0
    assert held(store) == {EMPTIED}
    entry = (await profiles.registry(CONTEXT.user_id)).find(CONTEXT.profile_id)
    assert entry is not None
    assert entry.state == DELETED


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
    gone, emptied = deletion.plan(found, PROFILE, 32, now.timestamp(), MONTH)
    assert emptied == [REPLICA + young]
    assert gone == [item.key for number, item in enumerate(found) if number not in (3, 4)]
