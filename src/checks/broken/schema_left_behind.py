"""The newest migrations are not run: the code asks for tables that the database does not have."""

from __future__ import annotations

import importlib
from typing import Any


def wrap(app: Any, _settings: object) -> Any:
    schema: Any = importlib.import_module("app.db.schema")
    first = schema.all_migrations()[:1]
    schema.all_migrations = lambda: first
    return app
