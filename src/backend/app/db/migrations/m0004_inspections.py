"""Which jobs read an uploaded video whole before its game is ready.

Until then the game stays `uploading` in its row, and so does one whose video was refused: the CHECK on `games.status`
cannot be changed without creating the table again. For the same reason such a job is of kind `extraction` with
`inspection = 1`. The previous release treats it as an extraction of a clip that does not exist, and fails it, because
its payload is of another kind. The game can then be finalized again: by that release, which looks at parts of the video
only, or by this one.
"""

import apsw

OLDEST = 1  # only adds a column


def up(connection: apsw.Connection) -> None:
    connection.execute("ALTER TABLE jobs ADD COLUMN inspection INTEGER NOT NULL DEFAULT 0")
