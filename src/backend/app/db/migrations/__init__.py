"""The schema as ordered migrations, one module each: `m0001_….py`, `m0002_….py`, … without a gap.

Each has `def up(connection: apsw.Connection) -> None` and `OLDEST`, the lowest schema version that a release must know
to read and write a database after this migration. All migrations that a database lacks run in one transaction; PRAGMA
user_version counts them. A released migration is never changed.

Expand first and contract one release later, so that every deploy can be rolled back. A migration that only adds (a
table, a column with a default, an index) keeps the OLDEST of the previous one. A migration that removes, renames or
forbids what the previous release uses has its own number as OLDEST; the promotion then names it and asks for consent.
"""
