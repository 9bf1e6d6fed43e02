"""The schema, as ordered migrations: one module per step, `m0001_….py`, `m0002_….py`, without a gap.

Each has `def up(connection: apsw.Connection) -> None`. All that a database lacks run in one transaction; PRAGMA
user_version counts them. A migration that has been released is never changed.
"""
