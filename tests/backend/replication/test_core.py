"""Decisions that the simulation does not vary enough."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.replication.core import (
    DAY,
    Moment,
    Options,
    catch_up_plan,
    deletable,
    must_look_up,
    prune,
    read_is_fresh,
    snapshot_due,
)
from app.replication.layout import SNAPSHOT, TOP_LEVEL, FileRef, due_merge, highest


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
    assert catch_up_plan(kept, base) == catch_up_plan(files, base)
    options = Options(snapshot_share=share)
    assert snapshot_due(kept, 20_000, options) == snapshot_due(files, 20_000, options)


def test_what_is_remembered_does_not_grow_with_the_number_of_transactions() -> None:
    files = [FileRef(0, txid, txid) for txid in range(1, 10_001)]
    for level in (1, 2):
        while run := due_merge(files, level - 1):
            files.append(FileRef(level, run[0].min_txid, run[-1].max_txid))
    assert len(prune(files)) < 32 * 4


@pytest.mark.parametrize(
    ("read_check", "monotonic", "wall", "fresh"),
    [
        (1.0, 0.0, 0.0, True),
        (1.0, 0.9, 0.9, True),
        (1.0, 1.0, 0.9, False),
        (1.0, 0.9, 1.0, False),
        # A suspend, in which the one clock stood still; a clock that was set forward, and one that was set back.
        (1.0, 0.1, 3600.0, False),
        (1.0, 5.0, 0.1, False),
        (1.0, 0.1, -3600.0, False),
        # The look began with the read or behind it.
        (0.0, 0.0, 0.0, True),
        (0.0, -0.5, 3600.0, True),
        (0.0, 0.001, 0.001, False),
        (math.inf, 1e9, 1e9, True),
    ],
)
def test_a_look_counts_until_either_clock_says_that_the_interval_is_over(
    read_check: float, monotonic: float, wall: float, *, fresh: bool
) -> None:
    """``monotonic`` and ``wall``: how long before the read the look began, in seconds."""
    checked, started = Moment(1000.0, 50_000.0), Moment(1000.0 + monotonic, 50_000.0 + wall)
    assert read_is_fresh(checked, started, Options(read_check=read_check)) is fresh
    assert not read_is_fresh(None, started, Options(read_check=read_check))


@pytest.mark.parametrize(("days", "must"), [(0.0, False), (14.9, False), (15.0, True), (31.0, True)])
def test_who_verified_nothing_for_half_the_retention_must_look_up(days: float, *, must: bool) -> None:
    """Half: another Machine may be set to delete after half of the time that this one knows."""
    assert must_look_up(1000.0, 1000.0 + days * DAY, 30 * DAY) is must
    assert must_look_up(None, 1000.0, 30 * DAY)


def test_a_merged_file_is_no_base_that_a_snapshot_may_be_measured_from() -> None:
    files = [FileRef(0, txid, txid, size=1000) for txid in range(1, 5)] + [FileRef(1, 1, 4, size=3000)]
    assert snapshot_due(files, 5000, Options(snapshot_share=0.5))
    assert not snapshot_due(files, 7000, Options(snapshot_share=0.5))
    assert not snapshot_due([*files, FileRef(SNAPSHOT, 1, 4)], 5000, Options(snapshot_share=0.5))


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
    assert deletable(files, date, Options(retention=30 * DAY)) == files[:3]


def test_a_file_that_is_named_twice_is_remembered_once() -> None:
    listed, answered = FileRef(0, 1, 1, size=10, modified=5.0), FileRef(0, 1, 1, size=10, modified=6.0)
    assert prune([listed, answered, FileRef(0, 2, 2)]) == [answered, FileRef(0, 2, 2)]
