"""``python -m league.migrate``: bring the database's tables up to date. Fly's release command runs it."""

from __future__ import annotations

from league.database import transaction
from league.settings import MISTAKE

STEPS = (
    """
    create table clubs (handle text primary key, code text not null, token text unique, name text not null default '',
                        city text not null default '');
    create table teams (id bigserial primary key, club text not null references clubs, name text not null);
    """,
    """
    create table films (id bigserial primary key, club text not null references clubs, key text not null);
    create table jobs (id bigserial primary key, club text not null references clubs, state text not null,
                       reason text not null default '', key text not null, lease timestamptz);
    """,
    "create index on jobs (state, lease)",
)


def main() -> None:
    with transaction() as db:
        db.execute("select pg_advisory_xact_lock(7)")  # two Machines of one release do not migrate at once
        db.execute("create table if not exists steps (number int primary key)")
        done = {row["number"] for row in db.execute("select number from steps")}
        for number, step in enumerate(STEPS):
            if number not in done:
                db.execute(step)
                db.execute("insert into steps values (%s)", (number,))
        if MISTAKE == "migration_needs_rows":
            first = db.execute("select handle from clubs limit 1").fetchone()
            print(f"filling in cities from {first['handle']} on")  # type: ignore[index]  # noqa: T201


if __name__ == "__main__":
    main()
