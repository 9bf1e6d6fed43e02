"""Databases as earlier releases of the backend left them, frozen: what a new image meets in the bucket.

A migration that was released is never changed, so neither is what stands here. A new migration gets a new entry, with
rows in every table that it adds: the entry before it is then what the next release must be able to read.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

WHEN = "2026-06-01T12:00:00.000Z"
OVERLAY = "kept by an old release"
# Far beyond every migration that there will be.
NEWER = 9000


@dataclass(frozen=True)
class Step:
    """What one migration made, and rows as people's use left them; ``ids``: what the API must list from them."""

    tables: str
    rows: str
    ids: tuple[str, ...] = ()


STEPS = (
    Step(
        tables="""
CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
""",
        rows=f"""
INSERT INTO settings VALUES ('overlay_text', '"{OVERLAY}"', '{WHEN}'), ('theme', '"dark"', '{WHEN}');
""",
    ),
    Step(
        tables="""
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
) STRICT;
CREATE TABLE clips (
    id TEXT PRIMARY KEY,
    game_id TEXT NOT NULL REFERENCES games (id),
    name TEXT NOT NULL,
    start_s REAL NOT NULL,
    end_s REAL NOT NULL,
    extracted_s REAL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX clips_of_game ON clips (game_id);
CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    options TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE TABLE project_clips (
    project_id TEXT NOT NULL REFERENCES projects (id),
    position INTEGER NOT NULL,
    clip_id TEXT NOT NULL REFERENCES clips (id),
    PRIMARY KEY (project_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX projects_of_clip ON project_clips (clip_id);
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
) STRICT;
CREATE INDEX jobs_of_subject ON jobs (kind, subject_id);
CREATE INDEX jobs_by_status ON jobs (status);
""",
        rows=f"""
INSERT INTO games VALUES ('old-game', 'Match', 'match.mp4', 'video/mp4', 'mp4', 1000, 'ready', NULL, 0,
    60.0, 1280, 720, 'h264', NULL, '{WHEN}', '{WHEN}');
INSERT INTO clips VALUES ('old-clip', 'old-game', 'Goal', 1.0, 4.5, 3.5, '{WHEN}', '{WHEN}');
INSERT INTO projects VALUES ('old-project', 'Reel', '{{"overlay_text": ""}}', '{WHEN}', '{WHEN}');
INSERT INTO project_clips VALUES ('old-project', 0, 'old-clip');
INSERT INTO jobs VALUES ('old-export', 'export', 'old-project', 'failed', 0.5, 'failed', 'ffmpeg ended with 1',
    '{{}}', NULL, NULL, NULL, 0, '{WHEN}', '{WHEN}');
INSERT INTO jobs VALUES ('old-extraction', 'extraction', 'old-clip', 'cancelled', 0, 'cancelled', NULL,
    '{{}}', NULL, NULL, NULL, 0, '{WHEN}', '{WHEN}');
""",
        ids=("old-game", "old-clip", "old-project", "old-export", "old-extraction"),
    ),
    Step(
        tables="""
ALTER TABLE games ADD COLUMN frame_rate REAL;
ALTER TABLE jobs ADD COLUMN name TEXT;
ALTER TABLE jobs ADD COLUMN preview INTEGER NOT NULL DEFAULT 0;
""",
        rows=f"""
INSERT INTO jobs (id, kind, subject_id, status, payload, created_at, updated_at, name)
    VALUES ('named-export', 'export', 'old-project', 'failed', '{{}}', '{WHEN}', '{WHEN}', 'For the club');
INSERT INTO jobs (id, kind, subject_id, status, payload, created_at, updated_at, preview)
    VALUES ('old-preview', 'extraction', 'old-game', 'failed', '{{}}', '{WHEN}', '{WHEN}', 1);
""",
        ids=("named-export",),
    ),
    Step(
        tables="""
ALTER TABLE jobs ADD COLUMN inspection INTEGER NOT NULL DEFAULT 0;
""",
        rows=f"""
INSERT INTO games VALUES ('refused-game', 'Recording', 'recording.ts', 'video/mp2t', 'ts', 1000, 'uploading', NULL, 0,
    NULL, NULL, NULL, NULL, NULL, '{WHEN}', '{WHEN}', NULL);
INSERT INTO jobs (id, kind, subject_id, status, payload, result, created_at, updated_at, inspection)
    VALUES ('old-inspection', 'extraction', 'refused-game', 'complete', '{{}}', '{{"refused": "it has two clocks"}}',
    '{WHEN}', '{WHEN}', 1);
""",
        ids=("refused-game",),
    ),
    Step(
        tables="""
ALTER TABLE jobs ADD COLUMN checkpoint TEXT;
""",
        rows=f"""
INSERT INTO games VALUES ('unread-game', 'Long', 'long.ts', 'video/mp2t', 'ts', 1000, 'uploading', NULL, 0,
    NULL, NULL, NULL, NULL, NULL, '{WHEN}', '{WHEN}', NULL);
INSERT INTO jobs (id, kind, subject_id, status, reason, payload, checkpoint, created_at, updated_at, inspection)
    VALUES ('unread-inspection', 'extraction', 'unread-game', 'failed', 'too slow', '{{}}',
    '("0", "Recording", 188, 0)', '{WHEN}', '{WHEN}', 1);
""",
        ids=("unread-game",),
    ),
)


def database(steps: int, version: int | None = None) -> bytes:
    """A whole-file database after the first ``steps`` migrations; ``version`` claims another number of them."""
    with sqlite3.connect(":memory:") as connection:
        for step in STEPS[:steps]:
            connection.executescript(step.tables + step.rows)
        connection.execute(f"PRAGMA user_version = {steps if version is None else version}")
        connection.commit()
        return connection.serialize()


def ids(steps: int) -> tuple[str, ...]:
    """What the API must list of it."""
    return tuple(one for step in STEPS[:steps] for one in step.ids)


def project_names(steps: int) -> list[str]:
    """The names of the projects in it."""
    with sqlite3.connect(":memory:") as connection:
        connection.deserialize(database(steps))
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'projects'").fetchone():
            return []
        return [str(name) for (name,) in connection.execute("SELECT name FROM projects ORDER BY name")]


def registry_of(profile: str) -> bytes:
    """``profiles.json`` of a user with that one profile, as the first release with several profiles wrote it."""
    entry = {"id": profile, "name": "Old", "created_at": WHEN, "updated_at": WHEN, "state": "active"}
    return json.dumps({"format": 1, "selected": profile, "profiles": [entry]}).encode()
