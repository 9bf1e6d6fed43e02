"""The backend's replication for measurements: databases on the stand-in, counted transfers, realistic rows."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from app.context import UserContext
from app.replication.databases import ReplicatedDatabases
from app.replication.layout import SNAPSHOT, parse_name
from app.settings import Settings, from_environment
from app.storage.interface import ObjectBytes, ObjectStore
from app.storage.keys import Keys
from app.storage.r2 import R2Store

APP_ENV = "bench"
KEYS = Keys(APP_ENV)
CONTEXT = UserContext("alice", "main")
MB = 1_000_000
Change = Callable[[apsw.Connection], None]
NOW = "2026-11-24T00:00:00Z"


@dataclass(frozen=True)
class Sizes:
    """How much is measured; the defaults are those of `make bench`."""

    rounds: int = 600
    writes: int = 5000
    megabytes: tuple[int, ...] = (1, 20)
    clients: int = 32
    seconds: float = 10.0
    profiles: int = 1000
    idle_seconds: float = 15.0


@dataclass(frozen=True)
class Place:
    """Where a measurement runs: ``folder`` is its disk, ``admin_url`` the stand-in's admin API."""

    folder: Path
    admin_url: str
    sizes: Sizes


async def seconds_of(work: Callable[[], Awaitable[object]]) -> float:
    """How long ``work`` takes."""
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def filled(machine: Backend, megabytes: int, context: UserContext = CONTEXT) -> Rows:
    """Fill a profile with about ``megabytes`` of rows in the app's tables."""
    rows = Rows()
    await machine.write(lambda connection: rows.fill(connection, megabytes * MB), context)
    return rows


def settings(folder: Path, **changes: str) -> Settings:
    """Settings of a staging backend that uses the stand-in (``R2_*`` of the environment) and ``folder`` as its disk."""
    given = {name: value for name, value in os.environ.items() if name.startswith("R2_")}
    own = {"ENV": "staging", "APP_ENV": APP_ENV, "USER_DATA_DIR": str(folder), "GIT_COMMIT": "bench"}
    return from_environment({**given, **own, **changes})


@dataclass
class Uploads:
    """Bytes and files by level; ``last`` is the newest level-0 file with its metadata."""

    sizes: dict[int, int] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    last: tuple[bytes, Mapping[str, str]] = (b"", {})

    def add(self, key: str, data: bytes, metadata: Mapping[str, str]) -> None:
        ref = parse_name(key.partition("/database/")[2])
        level = ref.level if ref else -1
        self.sizes[level] = self.sizes.get(level, 0) + len(data)
        self.counts[level] = self.counts.get(level, 0) + 1
        if level == 0:
            self.last = data, metadata

    def total(self) -> int:
        """Bytes of all levels."""
        return sum(self.sizes.values())

    def levels(self) -> str:
        """Bytes and files of each level, in words."""
        words = {0: "level 0", SNAPSHOT: "snapshots"}
        return ", ".join(
            f"{words.get(n, f'level {n}')} {self.sizes[n] / 1e6:.1f} MB in {self.counts[n]}" for n in sorted(self.sizes)
        )


class CountingStore:
    """An object store that forwards every call, counts uploads and records the keys that were fetched."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.uploads = Uploads()
        self.fetched: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put_bytes(self, key: str, data: bytes, **options: Any) -> str:
        etag = await self._store.put_bytes(key, data, **options)
        self.uploads.add(key, data, options.get("metadata") or {})
        return etag

    async def get_bytes(self, key: str) -> ObjectBytes:
        found = await self._store.get_bytes(key)
        self.fetched.append(key)
        return found


@dataclass
class Backend:
    """One Machine's databases and the store beneath them."""

    databases: ReplicatedDatabases
    store: CountingStore
    settings: Settings

    async def write(self, change: Callable[[apsw.Connection], object], context: UserContext = CONTEXT) -> None:
        """Returns when the store holds the change, as a request does."""
        async with self.databases.session(context) as session:
            await session.write(change)

    async def at_rest(self, context: UserContext = CONTEXT) -> None:
        """Returns when no merge or snapshot is under way."""
        await self.databases.forget(context)

    async def read(self, query: Callable[[apsw.Connection], Any], context: UserContext = CONTEXT) -> Any:
        async with self.databases.session(context) as session:
            return await session.read(query)


@asynccontextmanager
async def backend(folder: Path, **changes: str) -> AsyncIterator[Backend]:
    """A Machine with an empty disk in ``folder``."""
    used = settings(folder, **changes)
    inner = R2Store(used)
    store = CountingStore(inner)
    # It implements the protocol through __getattr__, which a type checker cannot see.
    as_store: Any = store
    databases = ReplicatedDatabases(as_store, KEYS, used)
    try:
        yield Backend(databases, store, used)
    finally:
        await databases.close()
        await inner.close()


class Rows:
    """Realistic rows of the app's tables, the same for the same ``seed``.

    A method draws the random values and returns a function that applies them, so that drawing is not timed.
    """

    def __init__(self, seed: int = 4) -> None:
        self._random = random.Random(seed)
        self.games: list[str] = []
        self.clips: list[str] = []
        self._game = ""

    def _id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def fill(self, connection: apsw.Connection, size: int) -> None:
        """Add games of 100 clips each until the database has ``size`` bytes; at least one game."""
        page = int(connection.pragma("page_size"))
        while not self.games or int(connection.pragma("page_count")) * page < size:
            game = self._id()
            self.games.append(game)
            connection.execute(
                "INSERT INTO games (id, name, filename, content_type, extension, size_bytes, status, upload_id,"
                " part_count, duration_s, width, height, video_codec, audio_codec, created_at, updated_at) VALUES"
                " (?, ?, ?, 'video/mp4', 'mp4', ?, 'ready', NULL, 0, 5400.5, 1920, 1080, 'h264', 'aac', ?, ?)",
                (game, f"Game against team {len(self.games)}", f"IMG_{len(self.games):04d}.MP4",
                 self._random.randrange(1 << 32), NOW, NOW),
            )  # fmt: skip
            for _ in range(100):
                self.insert()(connection)

    def insert(self, game: str = "") -> Change:
        """Insert a clip of ``game``, or of a random game: one row and two index entries."""
        clip, start = self._id(), self._random.uniform(0, 5400)
        row = (clip, game or self._random.choice(self.games), f"Clip {len(self.clips)}", start, start + 8, NOW, NOW)

        def change(connection: apsw.Connection) -> None:
            connection.execute(
                "INSERT INTO clips (id, game_id, name, start_s, end_s, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            # Only now, because an update must find its row.
            self.clips.append(clip)

        return change

    def update(self, last: int = 0) -> Change:
        """Change start and end of one of the ``last`` clips; 0: of any clip."""
        start, clip = self._random.uniform(0, 5400), self._random.choice(self.clips[-last:])

        def change(connection: apsw.Connection) -> None:
            connection.execute("UPDATE clips SET start_s = ?, end_s = ? WHERE id = ?", (start, start + 8, clip))

        return change

    def change(self) -> Change:
        """A small write: insert or update a clip with equal probability, of any game."""
        return self.insert() if self._random.random() < 0.5 else self.update()

    def work(self) -> Change:
        """A small write of a person who works on one game: insert a clip of it, or update one of the last 20 clips."""
        if self._random.random() < 0.01:
            self._game = self._random.choice(self.games)
        if self._random.random() < 0.5:
            return self.insert(self._game or self.games[0])
        return self.update(last=20)
