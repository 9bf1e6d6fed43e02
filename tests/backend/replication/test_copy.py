"""What other work sees of a local copy while another Machine's files are taken in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import apsw
import pytest
from tests.backend.replication.simulation.world import Bucket, Machine
from tests.backend.replication.virtual import bucket, insert, machine, play, select

from app.replication.copy import LocalCopy, State, Ticket
from app.replication.errors import Lost, StoreError
from app.replication.fetching import decoded
from app.replication.layout import FileRef
from app.replication.local import LocalDatabase


def count(connection: apsw.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM row").get)


def adding(row: int) -> Callable[[apsw.Connection], None]:
    def change(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO row VALUES (?, 'x')", (row,))

    return change


def behind(store: Bucket, txid: int) -> list[tuple[FileRef, bytes]]:
    """The transactions after ``txid``."""
    refs = [ref for ref in store.refs() if ref.level == 0 and ref.max_txid > txid]
    return [(ref, store.objects[ref.name].data) for ref in refs]


async def overtaken(folder: Path) -> tuple[Machine, list[tuple[FileRef, bytes]]]:
    """A Machine that wrote one row, and the files of two others, which wrote one each afterwards."""
    store = bucket(0.01, 0.02)
    one = machine(store, folder / "one", machine="one")
    await insert(one, 0)
    assert one.replica.copy.database is not None
    reached = one.replica.copy.database.txid
    for number, name in enumerate(("two", "three"), 1):
        await insert(machine(store, folder / name, machine=name), number)
    return one, behind(store, reached)


async def take_in(copy: LocalCopy, database: LocalDatabase, found: list[tuple[FileRef, bytes]]) -> None:
    """Take these files in."""
    await copy.overtaken(database, found, lambda: [decoded(ref, data) for ref, data in found])


def test_nothing_comes_between_another_machines_files_and_the_look_at_their_schema(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        one, found = await overtaken(tmp_path)
        copy = one.replica.copy
        database = copy.database
        assert database is not None
        taking = asyncio.ensure_future(take_in(copy, database, found))
        await asyncio.sleep(0)
        # It waits for its turn, which comes after the look at the schema.
        seen = await copy.read(database, count, None)
        assert taking.done()
        assert seen == (3, Ticket(copy.epoch, database.seq))
        assert await copy.write(database, count, None) is None

    play(run)


def test_no_one_reads_another_machines_files_whose_schema_is_behind(tmp_path: Path) -> None:
    async def run() -> None:
        one, found = await overtaken(tmp_path)
        copy = one.replica.copy
        database = copy.database
        assert database is not None
        with mock.patch.object(copy.schema, "is_behind", return_value=True):
            taking = asyncio.ensure_future(take_in(copy, database, found))
            await asyncio.sleep(0)
            assert await copy.read(database, count, None) is None
            await taking
        assert copy.state is State.BEHIND

    play(run)


def test_the_owner_is_the_writer_of_the_newest_file_that_was_taken_in(tmp_path: Path) -> None:
    async def run() -> None:
        one, found = await overtaken(tmp_path)
        copy = one.replica.copy
        assert copy.database is not None
        await copy.overtaken(copy.database, found, lambda: [decoded(ref, data) for ref, data in found])
        assert copy.writer == "three"
        assert not copy.owning

    play(run)


def test_a_copy_that_was_closed_stays_closed_whatever_ends_late(tmp_path: Path) -> None:
    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path)
        await insert(one, 0)
        await one.replica.close()
        await one.replica.copy.dropped(StoreError("an upload ended late"))
        assert one.replica.copy.state is State.CLOSED
        with pytest.raises(StoreError):
            await insert(one, 1)

    play(run)


def test_a_copy_that_was_built_again_meanwhile_is_neither_read_nor_written_but_asked_for_anew(tmp_path: Path) -> None:
    """The request goes on with the new copy: it is not refused."""

    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path)
        await insert(one, 0)
        copy = one.replica.copy
        before = copy.database
        assert before is not None
        await copy.dropped(OSError("the disk fails"))
        await insert(one, 1)
        assert await copy.read(before, count, None) is None
        assert await copy.write(before, count, None) is None

    play(run)


@pytest.mark.parametrize("event", ["another Machine's files come in", "an upload fails"])
def test_a_write_that_waits_for_its_turn_commits_nothing_once_the_profile_may_have_another_owner(
    tmp_path: Path, event: str
) -> None:
    """Its commit would be taken back at once, and the request refused, although it can go on after a claim."""

    async def run() -> None:
        one, found = await overtaken(tmp_path)
        copy = one.replica.copy
        database = copy.database
        assert database is not None
        before = database.seq
        busy = asyncio.ensure_future(copy.locally(lambda: None))
        await asyncio.sleep(0)
        writing = asyncio.ensure_future(copy.write(database, adding(7), None))
        await asyncio.sleep(0)
        if event == "an upload fails":
            await copy.gave_way(database, StoreError("no answer"))
        else:
            await take_in(copy, database, found)
        await busy
        assert await writing is None
        assert database.seq == before

    play(run)


def test_a_copy_that_was_dropped_while_other_files_came_in_stays_dropped(tmp_path: Path) -> None:
    async def run() -> None:
        one, found = await overtaken(tmp_path)
        copy = one.replica.copy
        database, honest = copy.database, copy.schema.is_behind
        assert database is not None
        dropping: list[asyncio.Future[None]] = []

        def is_behind(connection: apsw.Connection) -> bool:
            dropping.append(asyncio.ensure_future(copy.dropped(OSError("the disk fails"))))
            return honest(connection)

        with mock.patch.object(copy.schema, "is_behind", is_behind):
            await take_in(copy, database, found)
        await asyncio.gather(*dropping)
        assert copy.state is State.EMPTY
        assert copy.database is None
        assert copy.writer == "one"
        await insert(one, 7)
        assert await select(one, "SELECT count(*) FROM row") == [4]

    play(run)


def test_a_group_that_is_stored_while_the_copy_is_let_go_counts_as_kept(tmp_path: Path) -> None:
    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path)
        await insert(one, 0)
        copy = one.replica.copy
        database = copy.database
        assert database is not None
        done = await copy.write(database, adding(1), None)
        assert done is not None
        busy = asyncio.ensure_future(copy.locally(lambda: None))
        await asyncio.sleep(0)
        dropping = asyncio.ensure_future(copy.dropped(OSError("the disk fails")))
        await asyncio.sleep(0)
        reached = database.txid + 1
        database.mark_durable(reached, database.seq)
        await asyncio.gather(busy, dropping)
        assert copy.kept(done[1])
        assert one.replica.position == reached

    play(run)


def test_an_error_of_a_copy_that_was_replaced_leaves_the_new_one(tmp_path: Path) -> None:
    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path)
        await insert(one, 0)
        copy = one.replica.copy
        before = copy.database
        assert before is not None
        await copy.dropped(OSError("the disk fails"))
        await insert(one, 1)
        newer = copy.database
        with pytest.raises(Lost):
            await copy.on(before, lambda: before.read(count))
        assert newer is not None
        assert copy.database is newer

    play(run)


def test_a_machine_that_claims_a_profile_knows_itself_as_its_owner(tmp_path: Path) -> None:
    async def run() -> None:
        one, _ = await overtaken(tmp_path)
        assert one.replica.copy.writer == "one"
        other = machine(one.bucket, tmp_path / "four", machine="four")
        assert await select(other, "SELECT count(*) FROM row") == [3]
        assert other.replica.copy.writer == "three"
        await insert(other, 7)
        assert other.replica.copy.writer == "four"

    play(run)
