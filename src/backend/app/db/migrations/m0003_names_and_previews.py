"""What the page shows: a game's frame rate, an export's own name, and which jobs make a preview of a game.

A preview is a job of kind `extraction` with `preview = 1`, because the CHECK on `jobs.kind` cannot be changed without
creating the table again. The previous release treats it as an extraction of a clip that does not exist, and runs it.
"""

import apsw

OLDEST = 1  # only adds columns


def up(connection: apsw.Connection) -> None:
    connection.execute("ALTER TABLE games ADD COLUMN frame_rate REAL")
    connection.execute("ALTER TABLE jobs ADD COLUMN name TEXT")
    connection.execute("ALTER TABLE jobs ADD COLUMN preview INTEGER NOT NULL DEFAULT 0")
