"""The schema, as ordered migrations: one module per step, `m0001_….py`, `m0002_….py`, without a gap.

Each has `def up(connection: apsw.Connection) -> None` and `OLDEST`, the oldest schema version whose release can still
read and write a database behind this step. All that a database lacks run in one transaction; PRAGMA user_version counts
them. A migration that has been released is never changed.

Expand first, contract a release later, so that every deploy can be taken back: a step that only adds (a table, a column
with a default, an index) keeps the OLDEST of the step before. A step that removes, renames or forbids what the release
before still uses has its own number as OLDEST; the promotion then names it and asks for consent.
"""
