"""The frozen databases of earlier releases are what their migrations made, and none is missing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import apsw
import pytest

from app.db import schema
from released_schemas import NEWER, STEPS, database, ids


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
