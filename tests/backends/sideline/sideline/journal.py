"""One coach's journal: a SQLite file, which lies whole in the bucket and is copied to memory for each use.

A change is a function of a connection. Changes that arrive while an upload is under way wait and go up together in
the next one, because R2 takes about one write of a key a second. The upload names the version it replaces; where that
is another one meanwhile, the newer file is fetched and the same changes are made on it. Each batch leaves its id in
the file: a retried upload whose first try had won is then known for what it is.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from secrets import token_hex
from typing import Any

from sideline import bucket
from sideline.settings import MISTAKE, PREFIX

Change = Callable[[sqlite3.Connection], Any]
TABLES = """
create table entries (ref text primary key, body text not null);
create table card (id integer primary key check (id = 1), title text not null, note text not null);
insert into card values (1, '', '');
create table films (ref text primary key, kind text not null, length integer not null, ready integer not null);
create table reports (ref text primary key, state text not null, reason text not null);
create table batches (number integer primary key, id text not null);
"""
TRIES, PAUSE_S = 12, 0.25


class Nobody(Exception):
    """There is no such coach."""


class Journal:
    """Thread-safe. Everything raises ``bucket.Unreachable`` while the bucket fails, and ``Nobody``."""

    def __init__(self, coach: str) -> None:
        self.key = f"{PREFIX}/coaches/{coach}/journal.sqlite"
        self._data, self._etag = b"", ""
        self._copy = threading.Lock()  # of the copy above and of what waits
        self._turn = threading.Lock()  # one upload at a time
        self._waiting: list[tuple[Change, Future[Any]]] = []
        self._dirty = False

    def create(self) -> None:
        """Raises ``bucket.Changed`` where the coach is there already."""
        with closing(sqlite3.connect(":memory:")) as db:
            db.executescript(TABLES)
            self._kept(db.serialize(), bucket.store(self.key, db.serialize(), ""))

    def read(self, query: Change) -> Any:
        data, _ = self._newest()
        with closing(_opened(data)) as db:
            return query(db)

    def write(self, change: Change) -> Any:
        """Returns what ``change`` gave, once the bucket holds it. What it raises is raised, and nothing is kept."""
        if MISTAKE == "acknowledged_early":
            return self._early(change)
        future: Future[Any] = Future()
        with self._copy:
            self._waiting.append((change, future))
        with self._turn:
            if not future.done():
                self._upload()
        return future.result()

    def _upload(self) -> None:
        with self._copy:
            together = 1 if MISTAKE == "uploads_one_by_one" else len(self._waiting)
            batch, self._waiting = self._waiting[:together], self._waiting[together:]
        try:
            self._upload_all(batch)
        except (bucket.Unreachable, bucket.Missing, Nobody) as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)

    def _upload_all(self, batch: list[tuple[Change, Future[Any]]]) -> None:
        name = token_hex(8)
        for attempt in range(TRIES):
            data, etag = self._newest()
            with closing(_opened(data)) as db:
                if db.execute("select 1 from batches where id = ?", (name,)).fetchone():
                    break
                results = [_made(db, change) for change, _ in batch]
                db.execute("insert into batches (id) values (?)", (name,))
                db.execute("delete from batches where number <= (select max(number) from batches) - 100")
                db.commit()
                changed = db.serialize()
            try:
                condition = None if MISTAKE == "conditions_forgotten" else etag
                self._kept(changed, bucket.store(self.key, changed, condition))
                break
            except bucket.Changed:
                pass
            except bucket.Unreachable:
                if MISTAKE == "dirty_at_stop":
                    self._kept(changed, etag)
                    self._dirty = True
                    break
                # Also 429: another Machine writes the same key. What the try did is known after the next fetch.
                if attempt >= 4:
                    raise
            time.sleep(PAUSE_S * (1 + attempt / 2))
        else:
            raise bucket.Unreachable("other Machines write this journal all the time")
        for (_, future), (value, error) in zip(batch, results, strict=True):
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)

    def _newest(self) -> tuple[bytes, str]:
        with self._copy:
            data, etag = self._data, self._etag
        if self._dirty or (MISTAKE == "conditions_forgotten" and data):
            return data, etag
        try:
            return self._kept(*bucket.fetch(self.key, etag))
        except bucket.Changed:
            return data, etag
        except bucket.Missing:
            raise Nobody from None
        except bucket.Unreachable:
            if MISTAKE != "error_as_new" or data:
                raise
        with closing(sqlite3.connect(":memory:")) as db:
            db.executescript(TABLES)
            return self._kept(db.serialize(), bucket.store(self.key, db.serialize(), None))

    def _kept(self, data: bytes, etag: str) -> tuple[bytes, str]:
        with self._copy:
            self._data, self._etag = data, etag
        return data, etag

    def _early(self, change: Change) -> Any:
        with self._turn:
            data, etag = self._newest()
            with closing(_opened(data)) as db:
                value, error = _made(db, change)
                if error is not None:
                    raise error
                db.commit()
                self._kept(db.serialize(), etag)
            first, self._dirty = not self._dirty, True
        if first:
            threading.Thread(target=self._later, daemon=True).start()
        return value

    def _later(self) -> None:
        time.sleep(3)
        with self._turn:
            self._dirty = False
            data = self._data
        self._kept(data, bucket.store(self.key, data, None))


def _opened(data: bytes) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    db.deserialize(data)
    return db


def _made(db: sqlite3.Connection, change: Change) -> tuple[Any, Exception | None]:
    """What the change gave or raised; one that raises is rolled back alone."""
    db.execute("savepoint one")
    try:
        value = change(db)
    except Exception as error:  # the caller's own, handed back to it
        db.execute("rollback to one")
        return None, error
    db.execute("release one")
    return value, None


_JOURNALS: dict[str, Journal] = {}
_LOCK = threading.Lock()


def journal_of(coach: str) -> Journal:
    with _LOCK:
        return _JOURNALS.setdefault(coach, Journal(coach))
