"""Games, clips, projects and jobs. Times of day are ISO texts, times in videos seconds, leases unix seconds."""

import apsw

OLDEST = 1  # only adds tables


def up(connection: apsw.Connection) -> None:
    for statement in _TABLES:
        connection.execute(statement)


_TABLES = (
    """
    CREATE TABLE games (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        filename TEXT NOT NULL,
        content_type TEXT NOT NULL,
        extension TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('uploading', 'ready')),
        upload_id TEXT,
        part_count INTEGER NOT NULL,
        duration_s REAL,
        width INTEGER,
        height INTEGER,
        video_codec TEXT,
        audio_codec TEXT,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE clips (
        id TEXT PRIMARY KEY,
        game_id TEXT NOT NULL REFERENCES games (id),
        name TEXT NOT NULL,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        extracted_s REAL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX clips_of_game ON clips (game_id)",
    """
    CREATE TABLE projects (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        options TEXT NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE project_clips (
        project_id TEXT NOT NULL REFERENCES projects (id),
        position INTEGER NOT NULL,
        clip_id TEXT NOT NULL REFERENCES clips (id),
        PRIMARY KEY (project_id, position)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX projects_of_clip ON project_clips (clip_id)",
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('export', 'extraction')),
        subject_id TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('pending', 'processing', 'complete', 'failed', 'cancelled')),
        progress REAL NOT NULL DEFAULT 0,
        phase TEXT NOT NULL DEFAULT 'queued',
        reason TEXT,
        payload TEXT NOT NULL,
        result TEXT,
        call_id TEXT,
        owner TEXT,
        lease_until REAL NOT NULL DEFAULT 0,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX jobs_of_subject ON jobs (kind, subject_id)",
    "CREATE INDEX jobs_by_status ON jobs (status)",
)
