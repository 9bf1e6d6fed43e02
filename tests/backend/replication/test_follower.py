"""How far a Machine catches up, and from when on what it found counts as looked at."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest import mock

import pytest
from tests.backend.replication.simulation.world import Machine
from tests.backend.replication.virtual import bucket, insert, insist, machine, play, select

from app.replication.errors import Damaged
from app.replication.layout import SNAPSHOT, FileRef, highest, transaction
from app.replication.log import Moment
from app.replication.ltx import Header, encode


async def behind(folder: Path, rows: int) -> Machine:
    """A Machine that does not know of the last ``rows`` transactions, written by another one."""
    store = bucket(0.01, 0.02)
    one, other = machine(store, folder / "one", read_check=0.0), machine(store, folder / "other")
    await insert(other, 0)
    assert await select(one, "SELECT id FROM row") == [0]
    for row in range(1, rows + 1):
        await insist(other, row)
    await asyncio.sleep(5)
    return one


async def meet_the_next_file(one: Machine) -> None:
    """What a claim does that finds its name taken."""
    database = one.replica.copy.database
    assert database is not None
    ref = transaction(database.txid + 1)
    async with one.replica.log.tail:
        await one.replica.follower.follow(database, ref, one.bucket.objects[ref.name].data)


@pytest.mark.parametrize("rows", [1, 2, 4, 5, 6, 20])
def test_a_claim_that_was_beaten_takes_in_all_that_is_there(tmp_path: Path, rows: int) -> None:
    """Readers trust the copy from then on: it must not end before a file that was there."""

    async def run() -> None:
        one = await behind(tmp_path, rows)
        await meet_the_next_file(one)
        assert one.replica.position == highest(one.bucket.refs())

    play(run)


def test_a_claim_that_was_beaten_after_a_long_sleep_takes_no_deleted_file_for_the_end(tmp_path: Path) -> None:
    """The file that it met was deleted in the next moment, with all that follow, behind an old snapshot."""

    async def run() -> None:
        one = await behind(tmp_path, 6)
        database, newest = one.replica.copy.database, highest(one.bucket.refs())
        assert database is not None
        ref = transaction(database.txid + 1)
        data = one.bucket.objects[ref.name].data
        other = machine(one.bucket, tmp_path / "third")
        assert await select(other, "SELECT count(*) FROM row") == [7]
        assert other.replica.copy.database is not None
        image = other.replica.copy.database.durable_image()
        header = Header(other.replica.copy.database.page_size, image.commit, 1, newest, 0, 1)
        one.bucket.create(FileRef(SNAPSHOT, 1, newest).name, encode(header, image.pages))
        for old in one.bucket.refs():
            if old.level < SNAPSHOT:
                one.bucket.delete(old.name)
        one.bucket.skew += 40 * 86400
        async with one.replica.log.tail:
            await one.replica.follower.follow(database, ref, data)
        assert one.replica.position == newest
        assert await select(one, "SELECT count(*) FROM row") == [7]

    play(run)


def test_a_claim_that_was_beaten_proves_nothing_to_what_began_while_it_looked(tmp_path: Path) -> None:
    async def run() -> None:
        one = await behind(tmp_path, 1)
        honest, during = one.replica.store.probe, list[Moment]()

        async def probe(ref: FileRef) -> tuple[bytes | None, float]:
            found = await honest(ref)
            during.append(one.replica.log.moment())
            return found

        before = one.replica.log.moment()
        with mock.patch.object(one.replica.store, "probe", probe):
            await meet_the_next_file(one)
        assert one.replica.log.is_fresh(before)
        assert not one.replica.log.is_fresh(during[-1])

    play(run)


async def break_next(one: Machine) -> None:
    """The next file is broken, and a snapshot behind it holds what it held."""
    database, newest = one.replica.copy.database, highest(one.bucket.refs())
    assert database is not None
    whole = machine(one.bucket, one.folder.parent / "whole")
    assert await select(whole, "SELECT count(*) FROM row")
    assert whole.replica.copy.database is not None
    image = whole.replica.copy.database.durable_image()
    header = Header(whole.replica.copy.database.page_size, image.commit, 1, newest, 0, 1)
    one.bucket.create(FileRef(SNAPSHOT, 1, newest).name, encode(header, image.pages))
    stored = one.bucket.objects[transaction(database.txid + 1).name]
    stored.data = stored.data[:-1] + bytes([stored.data[-1] ^ 1])


def test_a_broken_file_is_passed_over_where_a_snapshot_holds_it(tmp_path: Path) -> None:
    async def run() -> None:
        one = await behind(tmp_path, 3)
        await break_next(one)
        assert await select(one, "SELECT count(*) FROM row") == [4]

    play(run)


def test_a_look_at_a_copy_that_was_replaced_meanwhile_leaves_the_new_one(tmp_path: Path) -> None:
    async def run() -> None:
        one = await behind(tmp_path, 1)
        copy, honest, built = one.replica.copy, one.replica.store.probe, list[object]()

        async def probe(ref: FileRef) -> tuple[bytes | None, float]:
            found = await honest(ref)
            if not built:
                built.append(None)
                await copy.dropped(OSError("the disk fails"))
                await one.replica._build()
                built.append(copy.database)
            return found

        with mock.patch.object(one.replica.store, "probe", probe):
            await one.replica.follower.look()
        assert built == [None, copy.database]
        assert copy.database is not None

    play(run)


def test_a_position_beyond_the_log_is_refused_to_its_own_request_alone(tmp_path: Path) -> None:
    """Requests that come at the same time share looks and claims. One of them sends a position that no log has."""

    async def run() -> None:
        one = await behind(tmp_path, 1)
        wrong = one.replica.read(lambda connection: None, at_least=999_999)
        refused, _ = await asyncio.gather(wrong, insist(one, 9), return_exceptions=True)
        assert isinstance(refused, Damaged)
        assert await select(one, "SELECT id FROM row") == [0, 1, 9]

    play(run)
