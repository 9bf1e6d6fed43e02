"""app.sync.whole_file: nothing acknowledged is lost, nothing is overwritten, an error is no absence."""

import asyncio
from collections.abc import AsyncIterator, Callable

import apsw
import pytest
from tests.backend.fakes import FakeStore, Fault

from app.context import UserContext
from app.db import schema
from app.db.rows import fetch_all
from app.profiles import settings as profile_settings
from app.settings import Settings
from app.storage.interface import StorageUnavailable
from app.storage.keys import Keys
from app.sync.interface import SchemaTooNew, Session, SyncConflict, SyncStatus, SyncUnavailable
from app.sync.whole_file import WholeFileDatabases

CONTEXT = UserContext("alice", "main")
KEY = Keys("staging").profile(CONTEXT).database
Make = Callable[..., WholeFileDatabases]


@pytest.fixture
async def machine(store: FakeStore, make_settings: Callable[..., Settings]) -> AsyncIterator[Make]:
    """Makes another Machine on the same bucket."""
    made: list[WholeFileDatabases] = []

    def make(**changes: str) -> WholeFileDatabases:
        made.append(WholeFileDatabases(store, Keys("staging"), make_settings(**changes)))
        return made[-1]

    yield make
    for databases in made:
        await databases.close()


async def put(session: Session, text: str) -> None:
    await session.write(lambda connection: profile_settings.write(connection, {"overlay_text": text}))


async def text_of(databases: WholeFileDatabases) -> str:
    async with databases.session(CONTEXT) as session:
        return (await session.read(profile_settings.read)).overlay_text


def stored_text(store: FakeStore) -> str:
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", store.objects[KEY][0])
    return profile_settings.read(connection).overlay_text


async def write(databases: WholeFileDatabases, text: str) -> None:
    async with databases.session(CONTEXT) as session:
        await put(session, text)


async def test_a_settled_write_is_in_the_bucket_and_on_another_machine(store: FakeStore, machine: Make) -> None:
    first = machine()
    async with first.session(CONTEXT) as session:
        await put(session, "hello")
        assert session.status is SyncStatus.PENDING
        assert await session.settle() is SyncStatus.SYNCED
        assert stored_text(store) == "hello"
    assert await text_of(machine()) == "hello"


async def test_a_reader_creates_nothing_in_the_bucket(store: FakeStore, machine: Make) -> None:
    assert await text_of(machine()) == ""
    assert store.keys() == []


async def test_a_store_that_cannot_be_asked_is_never_an_empty_profile(store: FakeStore, machine: Make) -> None:
    await write(machine(), "kept")
    store.faults.append(Fault("get", StorageUnavailable("down"), times=1))
    second = machine()
    with pytest.raises(SyncUnavailable):
        await write(second, "over it")
    assert stored_text(store) == "kept"
    assert await text_of(second) == "kept"


async def test_of_two_machines_that_create_only_one_wins(store: FakeStore, machine: Make) -> None:
    first, second = machine(), machine()
    with pytest.raises(SyncConflict):  # noqa: PT012 - leaving the session is what raises
        async with first.session(CONTEXT) as one:
            await put(one, "first")
            await write(second, "second")
            await one.settle()
    assert one.status is SyncStatus.CONFLICT
    assert stored_text(store) == "second"


async def test_the_loser_of_a_race_sees_the_winner_afterwards(store: FakeStore, machine: Make) -> None:
    first, second = machine(), machine()
    await write(first, "base")
    assert await text_of(second) == "base"
    with pytest.raises(SyncConflict):  # noqa: PT012 - leaving the session is what raises
        async with first.session(CONTEXT) as one:
            await put(one, "loser")
            await write(second, "winner")
    assert stored_text(store) == "winner"
    assert await text_of(first) == "winner"


async def test_a_failed_upload_does_not_leave_the_local_copy_ahead(store: FakeStore, machine: Make) -> None:
    databases = machine()
    await write(databases, "old")
    store.faults.append(Fault("put", StorageUnavailable("down"), times=1))
    with pytest.raises(SyncUnavailable):
        await write(databases, "never stored")
    assert await text_of(databases) == "old"


async def test_a_lost_answer_leaves_what_the_bucket_has(store: FakeStore, machine: Make) -> None:
    databases = machine()
    await write(databases, "old")
    store.faults.append(Fault("put", StorageUnavailable("answer lost"), times=1, after=True))
    with pytest.raises(SyncUnavailable):
        await write(databases, "stored after all")
    assert await text_of(databases) == stored_text(store) == "stored after all"


async def test_a_reader_of_what_is_not_yet_stored_waits_for_it(store: FakeStore, machine: Make) -> None:
    databases = machine(SYNC_READ_CHECK="never")
    await write(databases, "old")
    store.gates["put"] = asyncio.Event()
    writing = asyncio.create_task(write(databases, "new"))
    await store.called("put", times=2)
    reading = asyncio.create_task(text_of(databases))
    done, _ = await asyncio.wait([reading], timeout=0.05)
    assert not done
    store.gates["put"].set()
    assert await reading == "new"
    await writing


async def test_a_reader_of_a_write_that_failed_gets_no_answer(store: FakeStore, machine: Make) -> None:
    databases = machine(SYNC_READ_CHECK="never")
    await write(databases, "old")
    store.gates["put"] = asyncio.Event()
    store.faults.append(Fault("put", StorageUnavailable("down"), times=1))
    writing = asyncio.create_task(write(databases, "new"))
    await store.called("put", times=2)
    reading = asyncio.create_task(text_of(databases))
    for _ in range(20):
        await asyncio.sleep(0.001)
    store.gates["put"].set()
    results = await asyncio.gather(writing, reading, return_exceptions=True)
    assert [type(result) for result in results] == [SyncUnavailable, SyncUnavailable]


async def test_a_burst_of_writes_is_kept_whole_in_few_uploads(store: FakeStore, machine: Make) -> None:
    databases = machine(SYNC_READ_CHECK="never")

    async def one(number: int) -> None:
        async with databases.session(CONTEXT) as session:
            await session.write(lambda connection: profile_settings.write(connection, {f"key{number}": number}))

    store.gates["put"] = asyncio.Event()
    tasks = [asyncio.create_task(one(number)) for number in range(40)]
    await store.called("put")
    store.gates["put"].set()
    await asyncio.gather(*tasks)
    async with machine().session(CONTEXT) as session:
        rows = await session.read(lambda connection: fetch_all(connection, "SELECT key FROM settings"))
    assert len(rows) == 40
    assert store.count("put") < 40


async def test_a_write_that_raises_is_rolled_back_and_uploads_nothing(store: FakeStore, machine: Make) -> None:
    databases = machine()

    def broken(connection: apsw.Connection) -> None:
        profile_settings.write(connection, {"overlay_text": "half"})
        raise ValueError("no")

    async with databases.session(CONTEXT) as session:
        with pytest.raises(ValueError, match="no"):
            await session.write(broken)
        assert (await session.read(profile_settings.read)).overlay_text == ""
    assert store.count("put") == 0


async def test_a_read_that_writes_is_refused(machine: Make) -> None:
    async with machine().session(CONTEXT) as session:
        with pytest.raises(apsw.ReadOnlyError):
            await session.read(lambda connection: profile_settings.write(connection, {"theme": "dark"}))


async def test_an_ended_session_refuses_to_write(machine: Make) -> None:
    async with machine().session(CONTEXT) as session:
        pass
    with pytest.raises(RuntimeError, match="ended"):
        await put(session, "late")


async def test_one_profile_does_not_wait_for_another(store: FakeStore, machine: Make) -> None:
    databases = machine(SYNC_READ_CHECK="never")
    other = UserContext("bob", "main")
    async with databases.session(other) as session:
        await session.read(profile_settings.read)
    store.gates["put"] = asyncio.Event()
    writing = asyncio.create_task(write(databases, "slow"))
    await store.called("put")
    async with asyncio.timeout(5), databases.session(other) as session:
        assert (await session.read(profile_settings.read)).overlay_text == ""
    assert not writing.done()
    store.gates["put"].set()
    await writing


def old_database() -> bytes:
    connection = apsw.Connection(":memory:")
    schema.migrate(connection, schema.all_migrations()[:1])
    profile_settings.write(connection, {"overlay_text": "old"})
    return connection.serialize("main")


async def test_an_old_database_is_migrated_in_the_bucket_by_its_first_reader(
    store: FakeStore, machine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._put(KEY, old_database(), "")
    steps = (*schema.all_migrations()[:1], lambda connection: connection.execute("CREATE TABLE added (id)") and None)
    monkeypatch.setattr(schema, "all_migrations", lambda: steps)
    async with machine().session(CONTEXT) as session:
        await session.read(lambda connection: fetch_all(connection, "SELECT * FROM added"))
        assert (await session.read(profile_settings.read)).overlay_text == "old"
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", store.objects[KEY][0])
    assert schema.version(connection) == 2


async def test_a_newer_database_is_refused_and_left_alone(store: FakeStore, machine: Make) -> None:
    connection = apsw.Connection(":memory:")
    schema.migrate(connection)
    connection.pragma("user_version", 999)
    store._put(KEY, connection.serialize("main"), "")
    before = store.objects[KEY]
    with pytest.raises(SchemaTooNew, match="999"):
        await write(machine(), "x")
    assert store.objects[KEY] == before


async def test_idle_profiles_are_closed_when_there_are_too_many(
    store: FakeStore, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(SYNC_MAX_OPEN_PROFILES="2")
    databases = WholeFileDatabases(store, Keys("staging"), settings)
    for number in range(5):
        async with databases.session(UserContext(f"user{number}", "main")) as session:
            await put(session, str(number))
    assert len(list(settings.user_data_dir.rglob("database.sqlite"))) == 2
    async with databases.session(UserContext("user0", "main")) as session:
        assert (await session.read(profile_settings.read)).overlay_text == "0"
    await databases.close()
    assert list(settings.user_data_dir.rglob("database.sqlite")) == []


async def test_stopping_waits_for_an_upload_that_runs(store: FakeStore, machine: Make) -> None:
    databases = machine()
    store.gates["put"] = asyncio.Event()
    writing = asyncio.create_task(write(databases, "last words"))
    await store.called("put")
    stopping = asyncio.create_task(databases.close())
    await asyncio.sleep(0)
    store.gates["put"].set()
    await asyncio.gather(stopping, writing)
    assert stored_text(store) == "last words"
