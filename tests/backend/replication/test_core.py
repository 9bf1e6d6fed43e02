"""Decisions that the simulation does not vary enough."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.replication.core import Options, catch_up_plan, prune, snapshot_due
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
