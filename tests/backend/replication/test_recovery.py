"""A disk that fails for a moment costs a request at the most; nothing turns in circles."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from unittest import mock

import apsw
import pytest
from tests.backend.replication.virtual import Clients, bucket, execute, insert, insist, machine, play, select

import app.replication.local as local
from app.replication.errors import Lost, Outdated
from app.replication.layout import SNAPSHOT, FileRef, restore_plan
from app.replication.local import LocalDatabase
from app.replication.ltx import Header, encode
from app.replication.store import Listed, NewFile


def test_a_disk_that_is_full_when_the_log_is_to_be_emptied_stops_neither_writes_nor_merging(tmp_path: Path) -> None:
    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path)
        await insert(one, 0)
        honest, failures = LocalDatabase._checkpoint, [apsw.FullError("database or disk is full")]

        def checkpoint(self: LocalDatabase) -> None:
            if failures:
                raise failures.pop()
            honest(self)

        with mock.patch.object(LocalDatabase, "_checkpoint", checkpoint):
            await execute(one, "INSERT INTO row VALUES (1, randomblob(1500000))")
            for row in range(2, 200):
                await insert(one, row)
        assert not failures
        await asyncio.sleep(5)
        assert [ref for ref in one.bucket.refs() if 0 < ref.level < SNAPSHOT]
        assert len(await select(one, "SELECT id FROM row")) == 200

    play(run)


def test_a_copy_that_is_built_again_is_not_built_from_what_was_listed_before_it_was_written(tmp_path: Path) -> None:
    async def run() -> None:
        one = machine(bucket(), tmp_path, machine="one", read_check=math.inf)
        assert await one.replica.elsewhere() == ""
        await insert(one, 0)
        await one.replica.copy.dropped(OSError("the disk fails"))
        assert await select(one, "SELECT id FROM row") == [0]

    play(run)


def test_writers_wait_when_the_log_grows_while_an_upload_hangs_so_that_the_disk_does_not_fill(tmp_path: Path) -> None:
    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path)
        await insert(one, 0)
        honest, go = one.replica.store.create, asyncio.Event()

        async def create(file: NewFile) -> float:
            await go.wait()
            return await honest(file)

        with mock.patch.object(one.replica.store, "create", create):
            writes = []
            for row in range(1, 200):
                writes.append(asyncio.ensure_future(insert(one, row)))
                await asyncio.sleep(0.05)
            assert one.replica.disk_bytes < 2 << 16
            go.set()
            await asyncio.gather(*writes)
        assert len(await select(one, "SELECT id FROM row")) == 200

    with mock.patch.object(local, "_CHECKPOINT_BYTES", 1 << 14), mock.patch.object(local, "_CROWDED_BYTES", 1 << 16):
        play(run)


def test_what_was_written_while_a_copy_was_built_is_seen_by_a_read_that_began_afterwards(tmp_path: Path) -> None:
    """The build listed the files before; a read that waits for it must look once more."""

    async def run() -> None:
        store = bucket(0.01, 0.02)
        other, one = machine(store, tmp_path / "other"), machine(store, tmp_path / "one", read_check=0.0)
        await insert(other, 0)
        honest, fetching, go = one.replica.store.probe, asyncio.Event(), asyncio.Event()

        async def probe(ref: FileRef) -> tuple[bytes | None, float]:
            fetching.set()
            await go.wait()
            return await honest(ref)

        with mock.patch.object(one.replica.store, "probe", probe):
            first = asyncio.ensure_future(select(one, "SELECT id FROM row"))
            await fetching.wait()
            await insert(other, 1)
            second = asyncio.ensure_future(select(one, "SELECT id FROM row"))
            await asyncio.sleep(0.001)
            go.set()
            assert await second == [0, 1]
            await first

    play(run)


def test_the_files_of_a_replica_are_listed_once_a_day_however_often_it_is_merged(tmp_path: Path) -> None:
    async def run() -> list[int]:
        one = machine(bucket(0.01, 0.02), tmp_path)
        lists, honest = 0, one.replica.store.list

        async def counted() -> Listed:
            nonlocal lists
            lists += 1
            return await honest()

        async def listed(first: int) -> int:
            nonlocal lists
            lists = 0
            for row in range(first, first + 200):
                await insert(one, row)
            await asyncio.sleep(5)
            return lists

        await insert(one, 0)
        await asyncio.sleep(5)
        one.replica.store.list = counted  # type: ignore[method-assign]
        same_day = await listed(1)
        one.bucket.skew += 86400
        return [same_day, await listed(201)]

    assert play(run) == [0, 1]


def test_a_hole_in_what_is_remembered_is_mended_by_a_list(tmp_path: Path) -> None:
    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path)
        for row in range(20):
            await insert(one, row)
        await asyncio.sleep(1)
        one.replica.log.files = [ref for ref in one.replica.log.files if ref.max_txid != 10]
        for row in range(20, 200):
            await insert(one, row)
        await asyncio.sleep(5)
        plan = restore_plan(one.bucket.refs())
        assert sum(ref.level == 0 for ref in plan) < 32

    play(run)


def test_a_hole_that_is_in_the_bucket_too_does_not_list_it_with_each_upload(tmp_path: Path) -> None:
    async def run() -> int:
        one = machine(bucket(0.01, 0.02), tmp_path)
        for row in range(20):
            await insert(one, row)
        await asyncio.sleep(1)
        one.bucket.objects.pop("0000/000000000000000a-000000000000000a.ltx")
        one.replica.log.files = [ref for ref in one.replica.log.files if ref.max_txid != 10]
        lists, honest = 0, one.replica.store.list

        async def counted() -> Listed:
            nonlocal lists
            lists += 1
            return await honest()

        one.replica.store.list = counted  # type: ignore[method-assign]
        for row in range(20, 200):
            await insert(one, row)
        return lists

    assert play(run) < 20


def test_bodies_that_make_room_for_newer_ones_during_a_merge_are_fetched(tmp_path: Path) -> None:
    async def run() -> None:
        store = bucket(0.01, 0.02)
        before = machine(store, tmp_path / "before", snapshot_share=1e9)
        for row in range(40):
            await insert(before, row)
        await before.crash()
        # Some of what is merged next is in memory, some must be fetched, and the fetching takes its time.
        one = machine(store, tmp_path / "one", snapshot_share=1e9)
        async with Clients(one, 4):
            await asyncio.sleep(20)
        await asyncio.sleep(5)
        assert sum(ref.level == 0 for ref in restore_plan(store.refs())) < 32

    play(run)


def test_a_roll_back_that_fails_lets_the_copy_go_and_is_not_repeated(tmp_path: Path) -> None:
    async def run() -> None:
        store = bucket(0.01, 0.02)
        one, other = machine(store, tmp_path / "one"), machine(store, tmp_path / "other")
        await insert(one, 0)
        await insert(other, 1)
        broken = mock.patch.object(LocalDatabase, "roll_back", side_effect=OSError(5, "Input/output error"))
        with broken, pytest.raises(Lost):
            await asyncio.wait_for(insert(one, 2), 30)
        await insert(one, 3)
        assert await select(one, "SELECT id FROM row") == [0, 1, 3]

    play(run)


def test_commits_of_a_copy_that_was_dropped_while_their_upload_waited_are_not_stored(tmp_path: Path) -> None:
    """Their client has been told that they are gone."""

    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path)
        await insert(one, 0)
        reached = one.replica.position
        async with one.replica.log.tail:
            writing = asyncio.ensure_future(insert(one, 1))
            await asyncio.sleep(1)
            assert one.replica.copy.pending
            await one.replica.copy.dropped(OSError("the disk fails"))
        with pytest.raises(Lost):
            await writing
        await asyncio.sleep(5)
        assert one.bucket.refs()[-1].max_txid == reached
        assert await select(one, "SELECT id FROM row") == [0]

    play(run)


def test_an_upload_that_breaks_in_an_unforeseen_way_reaches_the_request_that_waits(tmp_path: Path) -> None:
    async def run() -> None:
        one = machine(bucket(0.01, 0.02), tmp_path)
        await insert(one, 0)
        broken = mock.patch.object(LocalDatabase, "mark_durable", side_effect=ZeroDivisionError)
        with broken, pytest.raises(Lost):
            await asyncio.wait_for(insert(one, 1), 30)
        await insert(one, 2)
        assert {0, 2} <= set(await select(one, "SELECT id FROM row"))

    play(run)


@pytest.mark.parametrize("restarts", [4])
def test_no_more_than_31_transactions_wait_to_be_merged_also_after_restarts(restarts: int, tmp_path: Path) -> None:
    async def run() -> None:
        store, row = bucket(0.01, 0.02), 0
        for start in range(restarts):
            one = machine(store, tmp_path / str(start), snapshot_share=1e9)
            for _ in range(45):
                await insert(one, row)
                row += 1
                await asyncio.sleep(2)
                assert sum(ref.level == 0 for ref in restore_plan(store.refs())) < 32
            await one.crash()

    play(run)


@pytest.mark.parametrize("wrote", [True, False], ids=["an upload", "a claim"])
def test_a_writer_that_slept_too_long_goes_on_with_the_newest_state(tmp_path: Path, *, wrote: bool) -> None:
    """Its file landed behind others' that were deleted since. It knows that now, so it must not show its own state."""

    async def run() -> None:
        store = bucket(0.01, 0.02)
        one, other = machine(store, tmp_path / "one", read_check=math.inf), machine(store, tmp_path / "other")
        await insert(other, 0)
        if wrote:
            await insist(one, 1)
        else:
            await select(one, "SELECT id FROM row")
        for row in range(10, 14):
            await insist(other, row)
        await asyncio.sleep(5)
        # What the retention does: a snapshot is old enough, and what it holds goes.
        database = other.replica.copy.database
        assert database is not None
        image = database.durable_image()
        header = Header(database.page_size, image.commit, 1, image.txid, 0, 1)
        store.create(FileRef(SNAPSHOT, 1, image.txid).name, encode(header, image.pages))
        for ref in store.refs():
            if ref.level < SNAPSHOT:
                store.delete(ref.name)
        store.skew += 40 * 86400
        with pytest.raises((Lost, Outdated)):
            await insert(one, 2)
        kept = [0, 1] if wrote else [0]
        assert await select(one, "SELECT id FROM row") == [*kept, *range(10, 14)]

    play(run)


def test_maintenance_runs_once_at_a_time_and_not_after_closing(tmp_path: Path) -> None:
    async def run() -> None:
        one, begun, go = machine(bucket(0.01, 0.02), tmp_path), 0, asyncio.Event()
        await insert(one, 0)
        await asyncio.sleep(5)

        async def work() -> None:
            nonlocal begun
            begun += 1
            await go.wait()

        one.replica.maintain(work)
        one.replica.maintain(work)
        await asyncio.sleep(1)
        assert begun == 1
        go.set()
        await one.replica.close()
        one.replica.maintain(work)
        await asyncio.sleep(1)
        assert begun == 1

    play(run)


def test_a_profile_that_is_seldom_written_is_looked_through_every_day_too(tmp_path: Path) -> None:
    async def run() -> list[int]:
        one, lists = machine(bucket(0.01, 0.02), tmp_path), 0
        honest = one.replica.store.list

        async def counted() -> Listed:
            nonlocal lists
            lists += 1
            return await honest()

        after = []
        with mock.patch.object(one.replica.store, "list", counted):
            for row in range(4):
                await insert(one, row)
                await asyncio.sleep(5)
                after.append(lists)
                one.bucket.skew += 0.6 * 86400
        return after

    first, *later = play(run)
    assert later == [first, first + 1, first + 1]


def test_what_maintenance_remembers_stays_small(tmp_path: Path) -> None:
    async def run() -> None:
        one = machine(bucket(0.001, 0.002), tmp_path, snapshot_share=1e9)
        for row in range(300):
            await insert(one, row)
        await asyncio.sleep(5)
        assert len(one.replica.log.files) < 32 * 3
        for row in range(1000, 1008):
            await execute(one, "INSERT INTO row VALUES (?, randomblob(400000))", (row,))
        assert sum(map(len, one.maintainer._bodies.values())) <= 1 << 20
        assert len(one.maintainer._bodies) <= 32

    play(run)
