"""modal.Dict: named maps of pickled keys to pickled values, opaque to the server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from modal_proto import api_pb2 as pb

from parity.modal.identifiers import stable_id


class Dictionaries:
    """Dicts and their entries, in the database only."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def named(self, name: str, *, create: bool) -> str | None:
        """The dict's id; None when there is none of that name and it is not to be created."""
        dict_id = stable_id("di", name)
        if create:
            self._database.execute("INSERT OR IGNORE INTO dict VALUES (?, ?)", (dict_id, name))
        return dict_id if self.name(dict_id) is not None else None

    def name(self, dict_id: str) -> str | None:
        row = self._database.execute("SELECT name FROM dict WHERE id = ?", (dict_id,)).fetchone()
        return str(row[0]) if row else None

    def update(self, dict_id: str, entries: Iterable[pb.DictEntry], *, if_not_exists: bool) -> bool:
        """Write entries; with ``if_not_exists`` only absent keys. Returns whether every entry was written."""
        verb = "INSERT OR IGNORE" if if_not_exists else "INSERT OR REPLACE"
        rows = [(dict_id, entry.key, entry.value) for entry in entries]
        cursor = self._database.executemany(f"{verb} INTO dict_entry VALUES (?, ?, ?)", rows)
        return cursor.rowcount == len(rows)

    def get(self, dict_id: str, key: bytes) -> bytes | None:
        row = self._database.execute(
            "SELECT value FROM dict_entry WHERE dict_id = ? AND key = ?", (dict_id, key)
        ).fetchone()
        return bytes(row[0]) if row else None

    def pop(self, dict_id: str, key: bytes) -> bytes | None:
        row = self._database.execute(
            "DELETE FROM dict_entry WHERE dict_id = ? AND key = ? RETURNING value", (dict_id, key)
        ).fetchone()
        return bytes(row[0]) if row else None

    def clear(self, dict_id: str) -> None:
        self._database.execute("DELETE FROM dict_entry WHERE dict_id = ?", (dict_id,))

    def count(self, dict_id: str) -> int:
        row = self._database.execute("SELECT count(*) FROM dict_entry WHERE dict_id = ?", (dict_id,)).fetchone()
        return int(row[0])

    def entries(self, dict_id: str) -> Iterator[tuple[bytes, bytes]]:
        rows = self._database.execute("SELECT key, value FROM dict_entry WHERE dict_id = ?", (dict_id,)).fetchall()
        return ((bytes(key), bytes(value)) for key, value in rows)
