import math

import pytest

from app.replication.core import (
    Moment,
    Options,
    catch_up_plan,
    deletable,
    must_look_up,
    prune,
    read_is_fresh,
    snapshot_due,
)
from app.replication.errors import GapError
from app.replication.layout import FANOUT, FileRef, due_merge, parse_name, restore_plan, transaction

DAY = 86400.0


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
    assert catch_up_plan(files, 67) == zero(68, 69)
    assert catch_up_plan(files, 69) == []
    with pytest.raises(GapError):
        catch_up_plan(zero(1, 2, 5), 2)


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
    assert snapshot_due(files, 1000, Options(snapshot_share=0.5))
    assert not snapshot_due(files, 2000, Options(snapshot_share=0.5))


def test_only_old_files_behind_an_old_snapshot_are_deleted() -> None:
    now, options = 100 * DAY, Options(retention=30 * DAY)
    old, new = 10 * DAY, 90 * DAY
    keep = [
        FileRef(9, 1, 20, 1, old),
        FileRef(0, 20, 20, 1, old),
        FileRef(0, 21, 21, 1, new),
        FileRef(9, 1, 21, 1, new),
    ]
    gone = [FileRef(9, 1, 10, 1, old), FileRef(0, 19, 19, 1, old), FileRef(1, 1, 19, 1, old)]
    assert deletable([*keep, *gone], now, options) == gone
    assert deletable([FileRef(0, 1, 1, 1, old), FileRef(9, 1, 2, 1, new)], now, options) == []


def test_a_writer_looks_up_after_half_the_retention_of_the_stores_clock() -> None:
    assert not must_look_up(0.0, 14.9 * DAY, 30 * DAY)
    assert must_look_up(0.0, 15 * DAY, 30 * DAY)
    assert must_look_up(None, 0.0, 30 * DAY)


def test_a_read_looks_as_often_as_it_is_told() -> None:
    def fresh(checked: float | None, read_check: float, wall: float = 0.0) -> bool:
        before = None if checked is None else Moment(checked, 1000.0 + checked)
        return read_is_fresh(before, Moment(5.0, 1005.0 + wall), Options(read_check=read_check))

    assert not fresh(None, math.inf)
    assert fresh(0.0, math.inf)
    assert fresh(4.5, 1.0)
    assert not fresh(4.0, 1.0)
    assert not fresh(4.999, 0.0)
    assert fresh(5.0, 0.0)
    # A suspend of three hours, in which the monotonic clock stood still; a wall clock that was put back.
    assert not fresh(4.5, 1.0, wall=10800.0)
    assert not fresh(4.5, 1.0, wall=-60.0)
    assert fresh(4.5, math.inf, wall=-60.0)


def test_a_file_that_is_remembered_twice_is_merged_once() -> None:
    files = [transaction(number) for number in range(1, 33)]
    listed = FileRef(0, 2, 2, 131, 1_800_000_000.0)
    assert [ref.max_txid for ref in due_merge([*files, listed], 0)] == list(range(1, 33))
    assert [ref.max_txid for ref in prune([*files, listed])] == list(range(1, 33))
