"""A deploy: Machines of two releases on one profile. No request sees a schema that its release does not know."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest import mock

import apsw
import pytest
from tests.backend.replication.simulation.world import Machine
from tests.backend.replication.virtual import bucket, execute, insist, machine, play, select

from app.replication.errors import Lost, StoreError
from app.replication.layout import highest, transaction
from app.replication.local import LocalDatabase
from app.replication.ltx import Header, encode, has_pages, read_header
from app.replication.store import NewFile


class TooNew(Exception):
    pass


class Release:
    """The schema of release 1 (a table), 2 (another one)."""

    def __init__(self, number: int) -> None:
        self.number = number

    def is_behind(self, connection: apsw.Connection) -> bool:
        found = int(connection.pragma("user_version"))
        if found > self.number:
            raise TooNew(f"schema {found}, release {self.number}")
        return found < self.number

    def migrate(self, connection: apsw.Connection) -> None:
        if int(connection.pragma("user_version")) < 1:
            connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, pad)")
        if self.number >= 2:
            connection.execute("CREATE TABLE second (id)")
        connection.pragma("user_version", self.number)


async def two_releases(folder: Path) -> tuple[Machine, Machine]:
    """A Machine of release 1 that wrote, and a new one of release 2."""
    store = bucket()
    old = machine(store, folder / "old", Release(1))
    await execute(old, "INSERT INTO row VALUES (1, 'x')")
    return old, machine(store, folder / "new", Release(2))


def test_readers_that_arrive_while_a_new_release_brings_the_schema_up_wait_for_it(tmp_path: Path) -> None:
    async def run() -> None:
        _, new = await two_releases(tmp_path)

        async def later(seconds: float) -> list[int]:
            await asyncio.sleep(seconds)
            return await select(new, "SELECT count(*) FROM second")

        assert await asyncio.gather(*(later(turn / 100) for turn in range(0, 100, 4))) == [[0]] * 25

    play(run)


def test_writers_that_arrive_while_a_new_release_brings_the_schema_up_wait_for_it(tmp_path: Path) -> None:
    async def run() -> None:
        _, new = await two_releases(tmp_path)

        async def later(seconds: float) -> None:
            await asyncio.sleep(seconds)
            await execute(new, "INSERT INTO second VALUES (?)", (seconds,))

        await asyncio.gather(*(later(turn / 1000) for turn in range(0, 1000, 5)))
        assert await select(new, "SELECT count(*) FROM second") == [200]

    play(run)


def test_a_reader_whose_schema_another_machine_has_just_brought_up_claims_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        old, one = await two_releases(tmp_path)
        other = machine(old.bucket, tmp_path / "other", Release(2))
        reached = highest(old.bucket.refs())
        assert await asyncio.gather(*(select(new, "SELECT count(*) FROM second") for new in (one, other))) == [[0]] * 2
        files = [ref for ref in old.bucket.refs() if ref.level == 0 and ref.max_txid > reached]
        writers = {read_header(old.bucket.objects[ref.name].data).node for ref in files}
        # One claim and one migration.
        assert (len(files), len(writers)) == (2, 1)

    play(run)


def test_an_old_release_never_writes_into_a_newer_schema_nor_claims_it(tmp_path: Path) -> None:
    async def run() -> None:
        old, new = await two_releases(tmp_path)
        await execute(new, "INSERT INTO second VALUES (1)")
        await asyncio.sleep(3)
        for row in range(3):
            with pytest.raises((TooNew, Lost)):
                await execute(old, "INSERT INTO row VALUES (?, 'old')", (10 + row,))
            with pytest.raises(TooNew):
                await select(old, "SELECT id FROM row")
            await asyncio.sleep(3)
        reached = highest(new.bucket.refs())
        # The new release was never fenced: it goes on without another claim.
        await execute(new, "INSERT INTO second VALUES (2)")
        assert highest(new.bucket.refs()) == reached + 1
        assert await select(new, "SELECT id FROM row") == [1]

    play(run)


def test_a_migration_that_fails_is_tried_again_by_the_next_use(tmp_path: Path) -> None:
    async def run() -> None:
        _, new = await two_releases(tmp_path)
        failures = [RuntimeError("once")]
        honest = new.replica.copy.schema.migrate

        def migrate(connection: apsw.Connection) -> None:
            if failures:
                raise failures.pop()
            honest(connection)

        new.replica.copy.schema.migrate = migrate  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="once"):
            await execute(new, "INSERT INTO row VALUES (2, 'lost')")
        assert await select(new, "SELECT count(*) FROM second") == [0]
        await execute(new, "INSERT INTO row VALUES (3, 'kept')")
        assert await select(new, "SELECT id FROM row") == [1, 3]

    play(run)


def test_a_reader_behind_a_migration_that_was_not_stored_waits_for_the_next_one(tmp_path: Path) -> None:
    """It was taken back, so that the copy has the old schema again."""

    async def run() -> None:
        _, new = await two_releases(tmp_path)
        honest = new.replica.store.create

        async def create(file: NewFile) -> float:
            if has_pages(file.data):
                raise StoreError("no answer")
            return await honest(file)

        with mock.patch.object(new.replica.store, "create", create), pytest.raises(Lost):
            await execute(new, "INSERT INTO second VALUES (1)")
        assert await select(new, "SELECT count(*) FROM second") == [0]

    play(run)


def test_a_release_that_is_too_old_leaves_no_copy_on_the_disk(tmp_path: Path) -> None:
    async def run() -> None:
        _, new = await two_releases(tmp_path)
        await execute(new, "INSERT INTO second VALUES (1)")
        late = machine(new.bucket, tmp_path / "late", Release(1))
        with pytest.raises(TooNew):
            await select(late, "SELECT id FROM row")
        assert not list((tmp_path / "late").glob("**/*.sqlite*"))

    play(run)


def test_an_older_database_put_in_place_of_a_served_one_is_brought_up_by_the_next_reader(tmp_path: Path) -> None:
    async def run() -> None:
        _, new = await two_releases(tmp_path)
        await execute(new, "INSERT INTO second VALUES (1)")
        older = LocalDatabase.build(tmp_path / "older" / "database.sqlite", [])
        older.write(Release(1).migrate)
        image, txid = older.image(), highest(new.bucket.refs()) + 1
        header = Header(older.page_size, image.commit, txid, txid, 1, 5)
        assert new.bucket.create(transaction(txid).name, encode(header, image.pages))
        await asyncio.sleep(3)
        assert await select(new, "SELECT id FROM second") == []
        await insist(new, 7)
        assert await select(new, "SELECT id FROM row") == [7]

    play(run)
