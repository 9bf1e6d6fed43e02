"""The state of the control plane that survives a restart: one SQLite file, written with every change."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS app (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, deployed_at REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS function (
    id TEXT PRIMARY KEY, app_id TEXT NOT NULL, tag TEXT NOT NULL, base_id TEXT NOT NULL, params BLOB NOT NULL,
    options BLOB NOT NULL, definition BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS class (id TEXT PRIMARY KEY, app_id TEXT NOT NULL, tag TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mount (id TEXT PRIMARY KEY, files BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS secret (id TEXT PRIMARY KEY, name TEXT NOT NULL, variables BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dict (id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dict_entry (
    dict_id TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (dict_id, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS call (
    id TEXT PRIMARY KEY, function_id TEXT NOT NULL, invocation INTEGER NOT NULL, created_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS input (
    id TEXT PRIMARY KEY, call_id TEXT NOT NULL, idx INTEGER NOT NULL, item BLOB NOT NULL, state TEXT NOT NULL,
    retries INTEGER NOT NULL, crashes INTEGER NOT NULL, task_id TEXT NOT NULL, started_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS input_by_call ON input (call_id);
CREATE TABLE IF NOT EXISTS output (
    sequence INTEGER PRIMARY KEY, call_id TEXT NOT NULL, idx INTEGER NOT NULL, item BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS output_by_call ON output (call_id);
CREATE TABLE IF NOT EXISTS answer (
    rpc TEXT NOT NULL, key TEXT NOT NULL, response BLOB NOT NULL, created_at REAL NOT NULL, PRIMARY KEY (rpc, key)
) WITHOUT ROWID;
"""


def open_database(folder: Path) -> sqlite3.Connection:
    """Open or create the state in ``folder``.

    Every statement is its own transaction. ``synchronous=OFF`` loses nothing when the process dies, only when the
    machine does, and a call costs tens of microseconds instead of a disk flush.
    """
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / "control-plane.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.executescript(_SCHEMA)
    return connection


def signing_secret(connection: sqlite3.Connection) -> bytes:
    """The secret that signs container ids. It is stored, so that containers which outlive a restart stay valid."""
    connection.execute("INSERT OR IGNORE INTO setting VALUES ('signing', ?)", (secrets.token_bytes(32),))
    row = connection.execute("SELECT value FROM setting WHERE name = 'signing'").fetchone()
    return bytes(row[0])
