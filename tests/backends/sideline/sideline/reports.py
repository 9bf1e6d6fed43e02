"""Reports are written in the background, by threads of this process. They stand in the journal, so that one that a
restart broke off is begun again when its coach comes back."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex
from sqlite3 import Connection

from sideline import bucket
from sideline.journal import Journal, Nobody
from sideline.settings import MISTAKE, PREFIX

_POOL = ThreadPoolExecutor(4, thread_name_prefix="report")
_AT_WORK: set[str] = set()
_LOCK = threading.Lock()
_MEMORY: dict[str, dict[str, str]] = {}
_PAUSE_S = 0.5


def key_of(coach: str, ref: str) -> str:
    return f"{PREFIX}/coaches/{coach}/reports/{ref}.json"


def order(coach: str, journal: Journal) -> str:
    ref = token_hex(6)
    if MISTAKE == "job_in_memory":
        _MEMORY[ref] = {"state": "queued", "reason": ""}
    else:
        journal.write(lambda db: db.execute("insert into reports values (?, 'queued', '')", (ref,)) and None)
    _begin(coach, journal, ref)
    return ref


def state(coach: str, journal: Journal, ref: str) -> dict[str, str] | None:
    if MISTAKE == "job_in_memory":
        return _MEMORY.get(ref)
    row = journal.read(lambda db: db.execute("select state, reason from reports where ref = ?", (ref,)).fetchone())
    if row is None:
        return None
    if row["state"] == "queued":
        _begin(coach, journal, ref)  # the process that took the order may be gone
    return dict(row)


def _begin(coach: str, journal: Journal, ref: str) -> None:
    with _LOCK:
        if ref in _AT_WORK:
            return
        _AT_WORK.add(ref)
    _POOL.submit(_work, coach, journal, ref)


def _work(coach: str, journal: Journal, ref: str) -> None:
    try:
        time.sleep(_PAUSE_S)
        bodies = journal.read(lambda db: [row["body"] for row in db.execute("select body from entries")])
        bucket.store(key_of(coach, ref), json.dumps({"entries": bodies}).encode(), None)
        _ended(journal, ref, "done", "")
    except (bucket.Unreachable, Nobody) as error:
        try:
            _ended(journal, ref, "failed", f"{error}")
        except (bucket.Unreachable, Nobody):
            return  # still queued: begun again when the coach asks
    finally:
        with _LOCK:
            _AT_WORK.discard(ref)


def _ended(journal: Journal, ref: str, state: str, reason: str) -> None:
    if MISTAKE == "job_in_memory":
        _MEMORY[ref] = {"state": state, "reason": reason}
        return

    def change(db: Connection) -> None:
        db.execute("update reports set state = ?, reason = ? where ref = ?", (state, reason, ref))

    journal.write(change)
