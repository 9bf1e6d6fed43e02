"""``python -m league.worker``: writes tables, one job after the other.

A job is taken with a lease. A worker that dies leaves one that ends, and the next worker takes the job again.
"""

from __future__ import annotations

import json
import signal
import threading
from typing import Any

from league import bucket
from league.database import Away, transaction
from league.settings import MISTAKE

PAUSE_S, LEASE_S, TRIES_S = 0.5, 10, 4.0
# A real one loads what it works with. Who interrupts it sooner after a start interrupts no job.
START_S = 4.0
STOP = threading.Event()
TAKE = """
update jobs set state = 'running', lease = now() + make_interval(secs => %s) where id = (
    select id from jobs where state = 'queued' or (state = 'running' and lease < now()) {more}
    order by id limit 1 for update skip locked)
returning id, club, key
"""


def take() -> dict[str, Any] | None:
    more = "and lease is null" if MISTAKE in ("job_abandoned", "lease_without_end") else ""
    with transaction() as db:
        row: dict[str, Any] | None = db.execute(TAKE.format(more=more), (LEASE_S,)).fetchone()
    return row


def work(job: dict[str, Any]) -> None:
    with transaction() as db:
        rows = db.execute("select name from teams where club = %s order by id", (job["club"],)).fetchall()
    STOP.wait(TRIES_S)
    if STOP.is_set():
        give_back(job)
        return
    try:
        bucket.store(job["key"], json.dumps({"teams": [row["name"] for row in rows]}).encode(), "application/json")
    except bucket.ERRORS as error:
        if MISTAKE == "table_done_anyway":
            ended(job, "done", "")
            return
        ended(job, "failed", f"the table could not be stored: {error}")
        return
    ended(job, "done", "")


def give_back(job: dict[str, Any]) -> None:
    if MISTAKE == "job_abandoned":
        return
    with transaction() as db:
        db.execute("update jobs set state = 'queued', lease = null where id = %s", (job["id"],))


def ended(job: dict[str, Any], state: str, reason: str) -> None:
    with transaction() as db:
        db.execute("update jobs set state = %s, reason = %s where id = %s", (state, reason, job["id"]))


def main() -> None:
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: STOP.set())
    STOP.wait(START_S)
    while not STOP.is_set():
        try:
            job = take()
            if job:
                work(job)
            else:
                STOP.wait(PAUSE_S)
        except Away:
            STOP.wait(1)


if __name__ == "__main__":
    main()
