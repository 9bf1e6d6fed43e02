"""Rows as dictionaries, for apsw connections."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import apsw

Value: TypeAlias = int | float | str | bytes | None
Parameters: TypeAlias = Sequence[Value] | Mapping[str, Value]
Row: TypeAlias = dict[str, Any]


def fetch_all(connection: apsw.Connection, sql: str, parameters: Parameters = ()) -> list[Row]:
    """All rows of a query."""
    cursor = connection.cursor()
    found: list[Row] = []
    for values in cursor.execute(sql, parameters):
        names = [column[0] for column in cursor.getdescription()]
        found.append(dict(zip(names, values, strict=True)))
    return found


def fetch_one(connection: apsw.Connection, sql: str, parameters: Parameters = ()) -> Row | None:
    """The first row of a query, None when there is none."""
    rows = fetch_all(connection, sql, parameters)
    return rows[0] if rows else None


def execute(connection: apsw.Connection, sql: str, parameters: Parameters = ()) -> int:
    """Runs a statement. Returns the number of changed rows."""
    before = connection.total_changes()
    connection.execute(sql, parameters)
    return connection.total_changes() - before


def insert(connection: apsw.Connection, table: str, row: Mapping[str, Value]) -> None:
    """Inserts one row. Table and column names are not escaped: they must never come from a client."""
    names = ", ".join(f'"{name}"' for name in row)
    marks = ", ".join(f":{name}" for name in row)
    connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', dict(row))
