"""Plays the next release. Its migration only adds: a column with a default to each table, and one table.

The release before it can ignore both, so it must still work after a rollback.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any


def wrap(app: Any, _settings: object) -> Any:
    schema: Any = importlib.import_module("app.db.schema")
    known = schema.all_migrations()
    later = replace(known[-1], name=f"m{len(known) + 1:04}_later", oldest=len(known), up=_up)
    schema.all_migrations = lambda: (*known, later)
    return app


def _up(connection: Any) -> None:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    for (table,) in list(tables):
        connection.execute(f"ALTER TABLE \"{table}\" ADD COLUMN later TEXT NOT NULL DEFAULT 'later'")
    connection.execute("CREATE TABLE later (id TEXT PRIMARY KEY) STRICT")
