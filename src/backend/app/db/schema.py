"""Migrates a database to the newest schema, and records which releases can use it afterwards.

After a rollback, the older release meets databases that the newer one has migrated. So each migration has ``OLDEST``,
the lowest schema version that a release must know to use the database after it. A database stores the highest of these
numbers in PRAGMA application_id, together with its schema version (``version << 16 | oldest``). So a release can decide
whether it can use a database whose schema is newer than its own.
"""

import importlib
import pkgutil
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast

import apsw

from app.db import migrations

_NAME = re.compile(r"m(\d{4})_[a-z0-9_]+")


class NewerSchema(Exception):
    """A newer release has migrated the database, and this release cannot use the result."""

    def __init__(self, found: int, known: int, oldest: int | None = None) -> None:
        self.found, self.known, self.oldest = found, known, oldest or found
        super().__init__(
            f"The database has schema version {found}, which releases from schema version {self.oldest} on can use;"
            f" this release knows {known}: deploy a newer one"
        )


class _Up(Protocol):
    def __call__(self, connection: apsw.Connection, /) -> None: ...


@dataclass(frozen=True)
class Migration:
    """One step. A release that knows the schema up to version ``oldest`` can read and write a database behind it."""

    name: str
    oldest: int
    up: _Up


@cache
def all_migrations() -> tuple[Migration, ...]:
    """The migrations in order. Raises RuntimeError when their numbers have a gap or repeat, or when one does not name
    the oldest schema that can work behind it."""
    names = sorted(module.name for module in pkgutil.iter_modules(migrations.__path__) if module.name.startswith("m"))
    numbers = [int(match[1]) for name in names if (match := _NAME.fullmatch(name))]
    if numbers != list(range(1, len(names) + 1)):
        raise RuntimeError(f"Migrations must be numbered 0001, 0002, … without a gap, found: {', '.join(names)}")
    found = []
    for number, name in enumerate(names, 1):
        module = importlib.import_module(f"{migrations.__name__}.{name}")
        oldest = getattr(module, "OLDEST", None)
        if not isinstance(oldest, int) or not 1 <= oldest <= number:
            raise RuntimeError(
                f"Migration {name}: expected OLDEST = a schema version from 1 to {number}, got {oldest!r}"
            )
        found.append(Migration(name, oldest, module.up))
    return tuple(found)


def version(connection: apsw.Connection) -> int:
    """The number of migrations that have run on the database."""
    return cast(int, connection.pragma("user_version"))


def oldest_version(steps: Sequence[Migration]) -> int:
    """The lowest schema version that a release must know to work with a database that has seen these migrations."""
    return max((step.oldest for step in steps), default=0)


def is_behind(connection: apsw.Connection, steps: Sequence[Migration] | None = None) -> bool:
    """Whether `migrate` would change anything. Raises `NewerSchema`."""
    known = all_migrations() if steps is None else steps
    check(version(connection), cast(int, connection.pragma("application_id")), len(known))
    return version(connection) < len(known)


def check(found: int, application_id: int, known: int) -> None:
    """Raises `NewerSchema` when a release that knows ``known`` migrations cannot use a database that has seen
    ``found`` of them. An application_id that belongs to no schema version, or to another one, says nothing: then only a
    release that knows them all can."""
    oldest = application_id & 0xFFFF if application_id >> 16 == found else found
    if found > known and oldest > known:
        raise NewerSchema(found, known, oldest)


def migrate(connection: apsw.Connection, steps: Sequence[Migration] | None = None) -> bool:
    """Runs what the database lacks, in one transaction; whether that was anything. Raises `NewerSchema`."""
    known = all_migrations() if steps is None else steps
    if not is_behind(connection, known):
        return False
    with connection:
        for step in known[version(connection) :]:
            step.up(connection)
        connection.pragma("user_version", len(known))
        connection.pragma("application_id", len(known) << 16 | oldest_version(known))
    return True
