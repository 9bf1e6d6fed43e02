from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.replication.errors import GapError
from app.replication.layout import (
    FANOUT,
    SNAPSHOT,
    TOP_LEVEL,
    FileRef,
    contiguous,
    deletable,
    due_merge,
    highest,
    parse_name,
    prune,
    restore_plan,
    snapshot_due,
    transaction,
)
from app.replication.log import DAY


def zero(*txids: int) -> list[FileRef]:
    return [transaction(txid) for txid in txids]


def test_a_name_is_read_back_to_the_file_it_stands_for() -> None:
    ref = FileRef(9, 1, 0xABC)
    assert ref.name == "0009/0000000000000001-0000000000000abc.ltx"
    assert parse_name(ref.name) == ref


@pytest.mark.parametrize(
    "name",
    ["", "0000/1-1.ltx", "0000/0000000000000002-0000000000000001.ltx", "0009/0000000000000002-0000000000000003.ltx",
     "000a/0000000000000001-0000000000000001.ltx", "0000/0000000000000001-0000000000000001.ltx.tmp",
     "0000/0000000000000000-0000000000000001.ltx"],
)  # fmt: skip
def test_other_names_are_passed_over(name: str) -> None:
    assert parse_name(name) is None


def test_a_plan_begins_with_the_newest_snapshot_and_takes_the_furthest_steps() -> None:
    merged = FileRef(1, 33, 64)
    files = [FileRef(9, 1, 10), FileRef(9, 1, 40), merged, *zero(*range(1, 68))]
    assert restore_plan(files) == [FileRef(9, 1, 40), merged, *zero(65, 66, 67)]


def test_a_plan_for_an_older_state_uses_no_newer_file() -> None:
    files = [FileRef(9, 1, 40), FileRef(1, 1, 32), *zero(*range(1, 50))]
    assert restore_plan(files, until=34) == [FileRef(1, 1, 32), *zero(33, 34)]


@pytest.mark.parametrize("missing", [1, 2, 5])
def test_a_gap_is_an_error_that_names_the_txid(missing: int) -> None:
    files = [ref for ref in zero(*range(1, 8)) if ref.min_txid != missing]
    with pytest.raises(GapError, match=f"{missing:016x} is missing"):
        restore_plan(files)


def test_catching_up_fetches_only_what_is_missing() -> None:
    files = [FileRef(9, 1, 40), FileRef(1, 33, 64), *zero(*range(1, 70))]
    assert contiguous(files, 67) == zero(68, 69)
    assert contiguous(files, 69) == []
    with pytest.raises(GapError):
        contiguous(zero(1, 2, 5), 2)


def test_a_full_run_of_files_is_merged_once() -> None:
    files = zero(*range(1, FANOUT + 3))
    run = due_merge(files, 0)
    assert (run[0].min_txid, run[-1].max_txid) == (1, FANOUT)
    assert due_merge([*files, FileRef(1, 1, FANOUT)], 0) == []
    assert due_merge(zero(*range(1, FANOUT)), 0) == []


def test_opening_reads_at_most_31_files_a_level() -> None:
    files: list[FileRef] = []
    for txid in range(1, 3000):
        files.append(transaction(txid))
        for level in range(3):
            if run := due_merge(files, level):
                files.append(FileRef(level + 1, run[0].min_txid, run[-1].max_txid))
        plan = restore_plan(files) if txid % 97 == 0 else []
        for level in range(4):
            assert sum(ref.level == level for ref in plan) < FANOUT


def test_a_snapshot_is_due_when_the_log_outgrows_its_share() -> None:
    files = [FileRef(9, 1, 1, 5000), FileRef(0, 2, 2, 400), FileRef(0, 3, 3, 200)]
    assert snapshot_due(files, 1000, 0.5)
    assert not snapshot_due(files, 2000, 0.5)


def test_only_old_files_behind_an_old_snapshot_are_deleted() -> None:
    now, retention = 100 * DAY, 30 * DAY
    old, new = 10 * DAY, 90 * DAY
    keep = [
        FileRef(9, 1, 20, 1, old),
        FileRef(0, 20, 20, 1, old),
        FileRef(0, 21, 21, 1, new),
        FileRef(9, 1, 21, 1, new),
    ]
    gone = [FileRef(9, 1, 10, 1, old), FileRef(0, 19, 19, 1, old), FileRef(1, 1, 19, 1, old)]
    assert deletable([*keep, *gone], now, retention) == gone
    assert deletable([FileRef(0, 1, 1, 1, old), FileRef(9, 1, 2, 1, new)], now, retention) == []


def test_a_file_that_is_remembered_twice_is_merged_once() -> None:
    files = [transaction(number) for number in range(1, 33)]
    listed = FileRef(0, 2, 2, 131, 1_800_000_000.0)
    assert [ref.max_txid for ref in due_merge([*files, listed], 0)] == list(range(1, 33))
    assert [ref.max_txid for ref in prune([*files, listed])] == list(range(1, 33))


@st.composite
def replicas(draw: st.DrawFn) -> list[FileRef]:
    """Files as one or two Machines leave them: transactions, merges that may overlap or be missing, snapshots."""
    newest = draw(st.integers(1, 120))
    files = {FileRef(0, txid, txid, size=draw(st.integers(100, 9000))) for txid in range(1, newest + 1)}
    for level, width in ((1, 4), (2, 16)):
        for low in range(1, newest - width + 2, width):
            if draw(st.booleans()):
                shift = draw(st.sampled_from([0, 0, 0, 1]))
                if low + shift + width - 1 <= newest:
                    files.add(FileRef(level, low + shift, low + shift + width - 1, size=draw(st.integers(100, 9000))))
    for txid in draw(st.lists(st.integers(1, newest), max_size=2)):
        files.add(FileRef(SNAPSHOT, 1, txid, size=20_000))
    return sorted(files)


@given(replicas(), st.floats(0, 4))
def test_forgetting_files_changes_no_decision(files: list[FileRef], share: float) -> None:
    kept = prune(files)
    assert set(kept) <= set(files)
    assert prune(kept) == kept
    for level in range(TOP_LEVEL):
        assert due_merge(kept, level) == due_merge(files, level)
    base = highest(file for file in files if file.level == SNAPSHOT)
    assert contiguous(kept, base) == contiguous(files, base)
    assert snapshot_due(kept, 20_000, share) == snapshot_due(files, 20_000, share)


def test_what_is_remembered_does_not_grow_with_the_number_of_transactions() -> None:
    files = [FileRef(0, txid, txid) for txid in range(1, 10_001)]
    for level in (1, 2):
        while run := due_merge(files, level - 1):
            files.append(FileRef(level, run[0].min_txid, run[-1].max_txid))
    assert len(prune(files)) < 32 * 4


def test_a_merged_file_is_no_base_that_a_snapshot_may_be_measured_from() -> None:
    files = [FileRef(0, txid, txid, size=1000) for txid in range(1, 5)] + [FileRef(1, 1, 4, size=3000)]
    assert snapshot_due(files, 5000, 0.5)
    assert not snapshot_due(files, 7000, 0.5)
    assert not snapshot_due([*files, FileRef(SNAPSHOT, 1, 4)], 5000, 0.5)


def test_only_what_is_old_and_lies_behind_an_old_snapshot_may_be_deleted() -> None:
    old, young, date = 1 * DAY, 31 * DAY, 40 * DAY
    files = [
        *(FileRef(0, txid, txid, modified=old) for txid in range(1, 7)),
        FileRef(1, 1, 4, modified=old),
        FileRef(SNAPSHOT, 1, 4, modified=old),
        FileRef(0, 7, 7, modified=young),
        FileRef(SNAPSHOT, 1, 7, modified=young),
        # A merge of old transactions may come late; one whose date is not known may be young.
        FileRef(1, 1, 2, modified=young),
        FileRef(0, 3, 3),
    ]
    assert deletable(files, date, 30 * DAY) == files[:3]


def test_a_file_that_is_named_twice_is_remembered_once() -> None:
    listed, answered = FileRef(0, 1, 1, size=10, modified=5.0), FileRef(0, 1, 1, size=10, modified=6.0)
    assert prune([listed, answered, FileRef(0, 2, 2)]) == [answered, FileRef(0, 2, 2)]
