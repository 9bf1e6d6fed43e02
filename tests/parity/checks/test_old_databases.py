from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

import apsw
import pytest

from app.db import schema
from parity.checks.product import old_databases
from parity.checks.product.old_databases import Later, Migrated, OldDatabasesObservation, Read
from parity.checks.product.released_schemas import NEWER, STEPS, database, ids

MIGRATED = Migrated(
    version=1,
    expected=["old-game"],
    reads=[Read("/api/games", 200, "[old-game]"), Read("/api/projects", 200, "[]")],
    write=201,
    written="project_1",
    replicated=["p/database/0000/1.ltx"],
    kept="e1",
    kept_after="e1",
    cold=[Read("/api/games", 200, "[old-game]"), Read("/api/projects", 200, "[project_1]")],
    stored_by_reading=[],
)
LATER = Later({"read": (503, "10", ""), "write": (503, "10", "")}, [])


def test_an_old_database_that_was_migrated_and_stored_is_fine() -> None:
    assert old_databases.judge(OldDatabasesObservation(["/api/games"], [MIGRATED], LATER)) == []


GAMES_FAIL = Read("/api/games", 500, "no such table")


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (replace(MIGRATED, reads=[GAMES_FAIL, MIGRATED.reads[1]]), "GET /api/games answered 500 no such table"),
        (replace(MIGRATED, write=500, written="no such table"), "a write answered 500"),
        (replace(MIGRATED, expected=["old-clip"]), "'old-clip', which was in it, is shown nowhere"),
        (replace(MIGRATED, replicated=[]), "the migration never got there"),
        (replace(MIGRATED, kept_after="e2"), "no way back"),
        (replace(MIGRATED, cold=[GAMES_FAIL, MIGRATED.cold[1]]), "with an empty disk GET /api/games answered 500"),
        (replace(MIGRATED, cold=[Read("/api/games", 200, "[]"), MIGRATED.cold[1]]), "shows another /api/games"),
        (replace(MIGRATED, cold=MIGRATED.reads), "does not show what was written after the migration"),
        (replace(MIGRATED, stored_by_reading=["p/database/0000/2.ltx"]), "had not reached the bucket: p/database"),
    ],
)
def test_a_migration_that_failed_or_stayed_on_the_machine_is_caught(seen: Migrated, word: str) -> None:
    assert any(word in reason for reason in old_databases.judge_migrated(seen))


@pytest.mark.parametrize(
    ("later", "word"),
    [
        (replace(LATER, answers={"read": (500, "", "boom")}), "a read of a database of a later release answered 500"),
        (replace(LATER, answers={"write": (200, "", "{}")}), "a write of a database of a later release answered 200"),
        (replace(LATER, answers={"read": (503, "", "")}), "503 with Retry-After expected"),
        (replace(LATER, changed=["p/database.sqlite"]), "was changed: p/database.sqlite"),
    ],
)
def test_a_later_schema_that_is_touched_is_caught(later: Later, word: str) -> None:
    assert any(word in reason for reason in old_databases.judge_later(later))


def test_a_description_without_lists_is_caught() -> None:
    assert old_databases.judge(OldDatabasesObservation([], [MIGRATED], LATER))


def tables(query: Callable[[str], list[tuple[object, ...]]]) -> list[str]:
    """Every CREATE statement, without its white space."""
    found = query("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
    return ["".join(str(sql).split()) for (sql,) in found]


@pytest.mark.parametrize("steps", range(1, len(STEPS) + 1))
def test_a_frozen_database_is_what_the_migrations_of_its_release_made(steps: int) -> None:
    made = apsw.Connection(":memory:")
    schema.migrate(made, schema.all_migrations()[:steps])
    frozen = sqlite3.connect(":memory:")
    frozen.deserialize(database(steps))
    try:
        assert tables(lambda sql: frozen.execute(sql).fetchall()) == tables(lambda sql: list(made.execute(sql)))
        assert frozen.execute("PRAGMA user_version").fetchone() == (steps,)
    finally:
        frozen.close()
        made.close()


def test_every_schema_that_a_new_migration_may_meet_is_frozen() -> None:
    assert len(STEPS) >= len(schema.all_migrations()), "freeze the new migration's tables in released_schemas.py"


def test_every_table_of_an_old_database_has_rows() -> None:
    frozen = sqlite3.connect(":memory:")
    frozen.deserialize(database(len(STEPS), NEWER))
    try:
        names = [name for (name,) in frozen.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert {name for name in names if frozen.execute(f"SELECT 1 FROM {name}").fetchone()} == set(names)
        assert frozen.execute("PRAGMA user_version").fetchone() == (NEWER,)
    finally:
        frozen.close()
    assert len(ids(len(STEPS))) > len(ids(1))
