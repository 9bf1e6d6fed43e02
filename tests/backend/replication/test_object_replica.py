"""A replica in an object store: what opening asks for, whatever the length of the log."""

from __future__ import annotations

import asyncio

import pytest
from tests.backend.fakes import FakeStore, Fault
from tests.backend.replication.conftest import PROFILE, REPLICA

from app.replication.errors import Damaged, GapError, StoreError
from app.replication.fetching import Fetching, fetch
from app.replication.layout import FileRef, due_merge, restore_plan, transaction
from app.replication.object_replica import ObjectReplica
from app.replication.store import NewFile
from app.storage.interface import StorageUnavailable

MERGED = [FileRef(1, 1, 32), FileRef(1, 33, 64)]


async def replica(store: FakeStore, *files: FileRef) -> ObjectReplica:
    for file in files:
        await store.put_bytes(REPLICA + file.name, b"x")
    store.calls.clear()
    return ObjectReplica(store, PROFILE)


def transactions(low: int, high: int) -> list[FileRef]:
    return [transaction(txid) for txid in range(low, high + 1)]


def bare(files: object) -> set[tuple[int, int, int]]:
    return {(file.level, file.min_txid, file.max_txid) for file in files}  # type: ignore[attr-defined]


async def test_only_transactions_behind_all_merged_files_are_left_out(store: FakeStore) -> None:
    asked = await replica(store, *transactions(1, 70), *MERGED)
    found = (await asked.recent()).files
    assert bare(found) == bare([*MERGED, *transactions(65, 70)])
    assert restore_plan(found) == restore_plan((await asked.list()).files)


async def test_a_log_of_any_length_is_two_lists(store: FakeStore) -> None:
    asked = await replica(store, *transactions(1, 70), *MERGED)
    await asked.recent()
    # The merged files, then the transactions alone.
    assert [call for call in store.calls if call[0] == "list"] == [("list", REPLICA), ("list", f"{REPLICA}0000/")]


async def test_a_replica_without_merged_files_is_listed_whole(store: FakeStore) -> None:
    asked = await replica(store, *transactions(1, 5))
    assert bare((await asked.recent()).files) == bare(transactions(1, 5))


async def test_an_empty_replica_is_empty(store: FakeStore) -> None:
    assert (await (await replica(store)).recent()).files == []


async def test_transactions_stand_in_for_a_merged_file_that_is_missing(store: FakeStore) -> None:
    asked = await replica(store, *transactions(1, 70), MERGED[1])
    found = (await asked.recent()).files
    assert restore_plan(found)[-1].max_txid == 70
    assert bare(found) == bare((await asked.list()).files)


async def test_a_gap_that_nothing_fills_stays_one(store: FakeStore) -> None:
    asked = await replica(store, *transactions(34, 70), MERGED[1])
    with pytest.raises(GapError):
        restore_plan((await asked.recent()).files)


def test_what_a_snapshot_holds_is_not_merged_any_more() -> None:
    files = [*transactions(1, 60), FileRef(9, 1, 20)]
    assert bare(due_merge(files, 0)) == bare(transactions(21, 52))
    assert due_merge([*transactions(1, 51), FileRef(9, 1, 20)], 0) == []


async def test_merged_files_are_fetched_while_the_transactions_are_listed(store: FakeStore) -> None:
    asked = await replica(store, *transactions(1, 70), *MERGED)
    store.gates["get"] = asyncio.Event()
    async with Fetching(asked) as fetching:
        listing = asyncio.ensure_future(asked.recent(fetching.ahead))
        await store.called("get", times=2)
        files = restore_plan((await listing).files)
        store.gates["get"].set()
        assert await fetching.bodies(files) == dict.fromkeys(files, b"x")
    assert [key for done, key in store.calls if done == "get"] == [REPLICA + file.name for file in files]


async def test_a_file_fetched_ahead_that_the_plan_leaves_out_harms_nothing(store: FakeStore) -> None:
    asked = await replica(store, *transactions(1, 70), *MERGED)
    store.faults.append(Fault("get", StorageUnavailable("503"), key=MERGED[0].name))
    async with Fetching(asked) as fetching:
        fetching.ahead(MERGED)
        assert await fetching.bodies(transactions(1, 3)) == dict.fromkeys(transactions(1, 3), b"x")
        with pytest.raises(StoreError, match="503"):
            await fetching.bodies(MERGED)


async def test_what_no_one_waits_for_any_more_is_given_up(store: FakeStore) -> None:
    asked = await replica(store, *MERGED)
    store.gates["get"] = asyncio.Event()
    async with Fetching(asked) as fetching:
        fetching.ahead(MERGED)
        await store.called("get", times=2)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_file_that_is_gone_is_named(store: FakeStore) -> None:
    asked = await replica(store, MERGED[0])
    with pytest.raises(Damaged, match=r"0001/0000000000000021-0000000000000040\.ltx: is missing"):
        await fetch(asked, MERGED)


async def test_a_date_that_one_answer_alone_gives_deletes_nothing_and_makes_a_writer_look(store: FakeStore) -> None:
    asked = await replica(store, *transactions(1, 3))
    store.wrong = 40 * 86400.0
    assert (await asked.list()).date == (await asked.recent()).date == store.clock
    _, date = await asked.probe(transaction(4))
    assert date == await asked.create(NewFile(transaction(4), b"x", 0)) == store.clock + store.wrong
