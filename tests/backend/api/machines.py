"""Several backends over one bucket, as Machines are, whose jobs never end by themselves."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
from tests.backend.fakes import FakeStore

from app.context import UserContext
from app.core import Core
from app.db.rows import execute
from app.games import rows as game_rows
from app.games import uploads
from app.jobs import lifespan as job_lifespan
from app.jobs.models import Job
from app.jobs.runner import Runner
from app.main import create_app
from app.services.worker import Work
from app.settings import Settings, from_environment
from app.sync.interface import SyncConflict
from reel.media import MediaInfo, VideoStream

CONTEXT = UserContext("alice", "main")
HEADERS = {"X-User-ID": "alice", "X-Profile-ID": "main"}
GAME_SECONDS = 100.0
FACTS = {
    "duration_s": GAME_SECONDS,
    "width": 320,
    "height": 180,
    "frame_rate": 30.0,
    "video_codec": "h264",
    "audio_codec": None,
}
CONFLICTS = 40
"""A client repeats a request that was answered with a conflict, which changed nothing, this many times at most."""


class EndlessWorker:
    """Work that goes on until it is cancelled: what becomes of a job is what requests make of it."""

    limit = 1000

    async def run(self, work: Work) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def discard(self, job: Job) -> None:
        return None

    async def abandon(self, job: Job) -> None:
        return None


class Machines:
    """Clients of each Machine, and a look at what the bucket holds."""

    def __init__(
        self, clients: list[httpx.AsyncClient], cores: list[Core], runners: list[Runner], store: FakeStore
    ) -> None:
        self.clients, self.cores, self.runners, self.store = clients, cores, runners, store
        self._count = itertools.count()

    async def ask(self, machine: int, method: str, path: str, body: Any = None) -> httpx.Response:
        """The answer, after conflicts that left nothing."""
        for _ in range(CONFLICTS):
            answer = await self.clients[machine].request(method, path, json=body, headers=HEADERS)
            if answer.status_code != 503 or answer.headers["X-Sync-Status"] != "conflict":
                return answer
            await asyncio.sleep(0.01)
        raise AssertionError(f"{method} {path}: still a conflict after {CONFLICTS} tries")

    async def ok(self, machine: int, method: str, path: str, body: Any = None) -> Any:
        """The body of a 2xx answer."""
        answer = await self.ask(machine, method, path, body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    async def catch_up(self, machine: int) -> None:
        """Makes this Machine take in what others wrote, as each write does that changes something."""
        await self.ok(machine, "PATCH", "/api/settings", {"overlay_text": str(next(self._count))})

    async def look(self, query: Callable[[apsw.Connection], Any]) -> Any:
        """What the database in the bucket shows, seen by a Machine that only reads."""
        async with self.cores[-1].databases.session(CONTEXT) as session:
            return await session.read(query)

    async def add_game(self, game_id: str, machine: int = 0, *, uploading: bool = False) -> None:
        """A game of `GAME_SECONDS`; with `uploading` its object is there and it waits for finalize."""
        row = {"id": game_id, "name": "G", "filename": "g.mp4", "content_type": "video/mp4", "extension": "mp4"}

        def change(connection: apsw.Connection) -> None:
            game_rows.create(connection, {**row, "size_bytes": 1, "upload_id": None, "part_count": 0})
            if not uploading:
                game_rows.set_ready(connection, game_id, FACTS)

        await self.store.put_bytes(self.cores[0].profile_keys(CONTEXT).game_source(game_id, "mp4"), b"x")
        await self._write(machine, change)

    async def end_jobs(self) -> None:
        """Ends all jobs. Both Machines resume and renew those that are not over, and write their rows for it: the more
        there are, the more conflicts requests meet."""
        over = "UPDATE jobs SET status = 'cancelled' WHERE status IN ('pending', 'processing')"
        await self._write(0, lambda connection: execute(connection, over))
        for runner in self.runners:
            if tasks := list(runner._tasks.values()):
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _write(self, machine: int, change: Callable[[apsw.Connection], object]) -> None:
        for _ in range(CONFLICTS):
            try:
                async with self.cores[machine].databases.session(CONTEXT) as session:
                    await session.write(change)
                    return
            except SyncConflict:
                await asyncio.sleep(0.01)
        raise AssertionError(f"still a conflict after {CONFLICTS} tries")


def settings(folder: Path, **changes: str) -> Settings:
    environ: Mapping[str, str] = {
        "ENV": "staging",
        "APP_ENV": "staging",
        "USER_DATA_DIR": str(folder),
        "R2_ENABLED": "true",
        "R2_ENDPOINT": "https://r2.invalid",
        "R2_ACCESS_KEY_ID": "key",
        "R2_SECRET_ACCESS_KEY": "secret",
        "R2_BUCKET": "bucket",
        "GIT_COMMIT": "abc123",
        **changes,
    }
    return from_environment(environ)


@asynccontextmanager
async def machines(folder: Path, count: int = 2) -> AsyncIterator[Machines]:
    """`count` Machines that trust what they read once until they write, and one that looks each time."""
    store = FakeStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_lifespan, "make_worker", lambda _core: EndlessWorker())
        patch.setattr(uploads, "inspect", _inspect)
        async with AsyncExitStack() as stack:
            clients, cores, runners = [], [], []
            for number in range(count + 1):
                check = "never" if number < count else "always"
                app = create_app(settings(folder / f"machine{number}", SYNC_READ_CHECK=check), store)
                await stack.enter_async_context(app.router.lifespan_context(app))
                transport = httpx.ASGITransport(app)
                client = httpx.AsyncClient(transport=transport, base_url="https://api.test")
                clients.append(await stack.enter_async_context(client))
                cores.append(app.state.core)
                runners.append(app.state.runner)
            made = await clients[0].post("/api/profiles", json={"name": "Main", "id": "main"}, headers=HEADERS)
            assert made.status_code == 201, made.text
            yield Machines(clients[:count], cores, runners, store)


async def _inspect(*_: Any, **__: Any) -> MediaInfo:
    await asyncio.sleep(0)  # as a real one, it lets other requests come between
    return MediaInfo("mp4", GAME_SECONDS, 1, VideoStream("h264", 320, 180, None), None)
