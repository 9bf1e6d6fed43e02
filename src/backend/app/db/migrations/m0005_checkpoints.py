"""From where an inspection goes on after its Machine has stopped (`reel.scan.save`)."""

import apsw

OLDEST = 1  # only adds a column


def up(connection: apsw.Connection) -> None:
    connection.execute("ALTER TABLE jobs ADD COLUMN checkpoint TEXT")
