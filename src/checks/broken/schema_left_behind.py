"""Variant: the app runs only the first migration, so the code queries tables that the database lacks."""

from __future__ import annotations

import importlib
from typing import Any


def wrap(app: Any, _settings: object) -> Any:
    schema: Any = importlib.import_module("app.db.schema")
    first = schema.all_migrations()[:1]
    schema.all_migrations = lambda: first
    return app
