"""Settings of the profile: one row per setting, values as JSON."""

import apsw

OLDEST = 1


def up(connection: apsw.Connection) -> None:
    connection.execute(
        """
        CREATE TABLE settings (
            key TEXT PRIMARY KEY,
            value TEXT NOT NULL,
            updated_at TEXT NOT NULL
        ) STRICT, WITHOUT ROWID
        """
    )
