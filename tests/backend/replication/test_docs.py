"""docs/replication.md against the code that it tells of."""

from pathlib import Path

from app import problems
from app.problems import SYNC_STATUS_HEADER, ProblemKind
from app.storage import r2
from app.storage.interface import READS_AT_ONCE

DOCUMENT = (Path(__file__).parents[3] / "docs" / "replication.md").read_text()


def test_every_answer_that_says_unavailable_is_in_the_table() -> None:
    kinds = [kind for kind in vars(problems).values() if isinstance(kind, ProblemKind) and kind.status == 503]
    rows = [
        f"| `{kind.headers[SYNC_STATUS_HEADER]}` | 503 `{kind.slug}` | {kind.headers['Retry-After']} |"
        for kind in kinds
    ]
    assert len(rows) == 5
    assert [row for row in rows if row not in DOCUMENT] == []


def test_the_numbers_of_what_runs_side_by_side_are_the_codes() -> None:
    assert f"{r2._READS} reads, {r2._WRITES} writes and {r2._TRANSFERS} transfers run at a time" in DOCUMENT
    assert f"one profile alone has at most {READS_AT_ONCE} reads" in DOCUMENT.replace("\n", " ")
    assert r2._READS == 2 * READS_AT_ONCE
    assert f"above {r2._SMALL >> 20} MiB is a transfer" in DOCUMENT.replace("\n", " ")
