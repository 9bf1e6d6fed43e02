"""The control plane, assembled from its parts."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass

from parity.modal.blobs import Blobs
from parity.modal.callbook import CallBook
from parity.modal.config import ModalConfig
from parity.modal.database import open_database, signing_secret
from parity.modal.dictionaries import Dictionaries
from parity.modal.faults import Faults
from parity.modal.journal import Journal
from parity.modal.registry import Registry
from parity.modal.scheduler import Scheduler
from parity.modal.workers import Workers

# Seconds for which answers are kept; a client repeats a request within a minute or two.
_ANSWER_LIFETIME_S = 3600.0


@dataclass(frozen=True)
class Caller:
    """Who sent an RPC: a client (``task_id`` empty) or a container; ``host`` is the name it knows this server by."""

    idempotency_key: str
    task_id: str = ""
    host: str = ""


class Answers:
    """Stored answers to requests that must not take effect twice; they survive a restart."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("DELETE FROM answer WHERE created_at < ?", (time.time() - _ANSWER_LIFETIME_S,))

    def get(self, rpc: str, key: str) -> bytes | None:
        row = self._database.execute("SELECT response FROM answer WHERE rpc = ? AND key = ?", (rpc, key)).fetchone()
        return bytes(row[0]) if row else None

    def put(self, rpc: str, key: str, response: bytes) -> None:
        self._database.execute("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?)", (rpc, key, response, time.time()))


class Plane:
    """The state that RPC handlers work on."""

    def __init__(self, config: ModalConfig) -> None:
        self.config = config
        self.database = open_database(config.state_dir)
        self.signing_secret = signing_secret(self.database)
        self.journal = Journal()
        self.faults = Faults()
        self.answers = Answers(self.database)
        self.registry = Registry(self.database)
        self.dicts = Dictionaries(self.database)
        self.blobs = Blobs(config.state_dir / "blobs")
        self.files = Blobs(config.state_dir / "files")
        self.calls = CallBook(self.database)
        self.workers = Workers(config, self.registry, self.signing_secret)
        self.scheduler = Scheduler(self.registry, self.calls, self.faults, self.workers, config.max_containers)

    @property
    def ready(self) -> bool:
        """The app is deployed and a worker can run it."""
        return self.registry.app_named(self.config.app_name) is not None and self.workers.connected

    def close(self) -> None:
        self.database.close()
