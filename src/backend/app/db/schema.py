"""Brings a database to the newest schema."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import cast

import apsw

from app.db import migrations

Migration = Callable[[apsw.Connection], None]
_NAME = re.compile(r"m(\d{4})_[a-z0-9_]+")


class NewerSchema(Exception):
    """The database has seen migrations that this code does not know."""

    def __init__(self, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__(
            f"The database has schema version {found}, this release knows {known}: deploy a release that knows it"
        )


@cache
def all_migrations() -> tuple[Migration, ...]:
    """The migrations in order; raises RuntimeError when their numbers have a gap or repeat."""
    names = sorted(module.name for module in pkgutil.iter_modules(migrations.__path__) if module.name.startswith("m"))
    numbers = [int(match[1]) for name in names if (match := _NAME.fullmatch(name))]
    if numbers != list(range(1, len(names) + 1)):
        raise RuntimeError(f"Migrations must be numbered 0001, 0002, … without a gap, found: {', '.join(names)}")
    modules = [importlib.import_module(f"{migrations.__name__}.{name}") for name in names]
    return tuple(cast(Migration, module.up) for module in modules)


def version(connection: apsw.Connection) -> int:
    """How many migrations the database has seen."""
    return cast(int, connection.pragma("user_version"))


def migrate(connection: apsw.Connection, steps: Sequence[Migration] | None = None) -> bool:
    """Runs what the database lacks, in one transaction; whether that was anything. Raises `NewerSchema`."""
    known = all_migrations() if steps is None else steps
    found = version(connection)
    if found > len(known):
        raise NewerSchema(found, len(known))
    if found == len(known):
        return False
    with connection:
        for step in known[found:]:
            step(connection)
        connection.pragma("user_version", len(known))
    return True
