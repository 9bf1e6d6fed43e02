"""The whole-file databases that this app kept before it replicated: checked, and made fit for a first file."""

import tempfile
from pathlib import Path

import apsw

from app.replication.errors import NotADatabase
from app.replication.local import PAGE_SIZE
from app.replication.store import ReplicaStore

LEGACY_NAME = "../database.sqlite"
"""Where the whole file lies, as seen from the replica's folder."""


def prepared(data: bytes, folder: Path, page_size: int = PAGE_SIZE) -> bytes:
    """The database in ``data`` with pages of ``page_size`` bytes and the log that replication needs. Whatever it was:
    any page size, any journal mode. Works on a file in ``folder``. Raises ``NotADatabase``."""
    if not data:
        raise NotADatabase("is empty")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=folder) as scratch:
        path = Path(scratch) / "database.sqlite"
        path.write_bytes(data)
        try:
            _convert(path, page_size)
        except apsw.Error as error:
            raise NotADatabase(f"is not a sound database: {error}") from error
        return path.read_bytes()


async def written_since(store: ReplicaStore, taken_over: frozenset[str]) -> bool:
    """Whether an older release has stored something in the whole-file database after it was ``taken_over``."""
    etag = await store.legacy_etag() if taken_over else None
    return etag is not None and etag not in taken_over


def check(connection: apsw.Connection) -> None:
    """Raises ``NotADatabase`` or ``apsw.Error`` for a database that is not consistent."""
    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    if found != ["ok"]:
        raise NotADatabase(f"is not a sound database: {'; '.join(found)}")


def _convert(path: Path, page_size: int) -> None:
    connection = apsw.Connection(str(path))
    try:
        check(connection)
        if connection.pragma("page_size") != page_size:
            # A database with a log cannot change its page size.
            connection.pragma("journal_mode", "delete")
            connection.pragma("page_size", page_size)
            connection.execute("VACUUM")
        connection.pragma("journal_mode", "wal")
    finally:
        connection.close()
