"""The real backend as processes that are killed and frozen, and clients that keep a ledger of what they were told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from tests.backend.conftest import PATIENT

BACKEND = Path(__file__).parents[3] / "src" / "backend"
HEADERS = {"X-User-ID": "alice", "X-Profile-ID": "main"}
PARTS = ("name", "overlay_text")
"""Parts of a project that clients change on their own."""
# Longer than a backend needs to start and answer, however busy the machine is. `give_up` is for one that is frozen.
PATIENCE = 60.0


class Backend:
    """One Machine: a process with a disk of its own behind an address that stays."""

    def __init__(self, environ: dict[str, str], disk: Path) -> None:
        self._environ = {**environ, "USER_DATA_DIR": str(disk)}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._log = disk.with_suffix(".log")
        self.start()

    def start(self) -> None:
        """Start the process, on the disk that an earlier one left."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "app.main:app", "--fd", str(self._listener.fileno())],
                cwd=BACKEND,
                env=self._environ,
                pass_fds=[self._listener.fileno()],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def signal(self, what: signal.Signals) -> None:
        self._process.send_signal(what)

    def kill(self) -> None:
        """SIGKILL, also to a frozen process; returns when it is gone."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._listener.close()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    async def ready(self) -> None:
        """Return when it serves; TimeoutError after two minutes, with its log."""
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            try:
                async with asyncio.timeout(120):
                    while True:
                        with contextlib.suppress(httpx.TransportError):
                            if (await client.get(f"{self.url}/api/health")).status_code == 200:
                                return
                        await asyncio.sleep(0.02)
            except TimeoutError:
                raise TimeoutError(f"a backend does not serve: {self.log[-2000:]}") from None


@dataclass
class Ledger:
    """Names of projects by what their clients were told.

    ``shared`` has, for each setting that its one writer changes again and again, the last value that was acknowledged
    and those that were asked for since.
    """

    acknowledged: set[str] = field(default_factory=set)
    shared: dict[str, tuple[str, set[str]]] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    unknown: int = 0
    conflicts: int = 0
    unavailable: int = 0
    problems: list[str] = field(default_factory=list)


class Clients:
    """``count`` clients that write and read one profile, most of the time at the backend ``preferred``."""

    def __init__(self, backends: list[Backend], count: int, rnd: random.Random) -> None:
        self.ledger = Ledger()
        self.preferred = 0
        self._backends, self._rnd, self._numbers = backends, rnd, 0
        self.project, self._changing = "", set[str]()
        self._client = httpx.AsyncClient(trust_env=False, timeout=PATIENCE, headers=HEADERS)
        self._count, self._tasks = count, list[asyncio.Task[None]]()
        self._under_way = dict[asyncio.Future[None], Backend]()

    async def stop(self) -> None:
        """End the clients; what they had under way counts as unknown. Raises what went wrong in them."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        await self._client.aclose()

    async def progress(self, count: int, seconds: float = 300) -> None:
        """Return when that many more writes were acknowledged; TimeoutError after so many seconds."""
        wanted = len(self.ledger.acknowledged) + count
        async with asyncio.timeout(seconds):
            while len(self.ledger.acknowledged) < wanted:  # noqa: ASYNC110 - counted by several tasks
                await asyncio.sleep(0.01)

    async def explain(self) -> str:
        """Where every thread of every backend stands (they end by it), and what clients were told last."""
        for backend in self._backends:
            backend.signal(signal.SIGCONT)
            backend.signal(signal.SIGABRT)
        await asyncio.sleep(1)
        ledger = self.ledger
        counts = f"{ledger.conflicts} conflicts, {ledger.unavailable} unavailable, {ledger.unknown} without an answer"
        return "\n".join([counts, *(backend.log[-6000:] for backend in self._backends)])

    async def _work(self) -> None:
        while True:
            backend = self._backends[self.preferred]
            if self._rnd.random() < 0.1:
                backend = self._rnd.choice(self._backends)
            act = self._rnd.choices((self._write, self._change, self._read), (5, 3, 2))[0]
            request = asyncio.ensure_future(act(backend))
            self._under_way[request] = backend
            try:
                await asyncio.wait({request})
            finally:
                request.cancel()
                del self._under_way[request]
            if request.cancelled() or isinstance(request.exception(), httpx.TransportError):
                self.ledger.unknown += 1
                await asyncio.sleep(0.02)
            else:
                request.result()

    def give_up(self, backend: Backend) -> None:
        """End the requests to a backend, as clients do that wait for a frozen one."""
        for request, asked in self._under_way.items():
            if asked is backend:
                request.cancel()

    async def _write(self, backend: Backend) -> None:
        self._numbers += 1
        name = f"w{self._numbers}"
        answer = await self._client.post(f"{backend.url}/api/projects", json={"name": name})
        if answer.status_code == 201 and answer.headers.get("x-sync-status") == "synced":
            self.ledger.acknowledged.add(name)
        else:
            await self._refused(answer)

    async def begin(self) -> None:
        """Make the one row that all clients change, each another part of it, and start the clients."""
        made = await self._client.post(f"{self._backends[0].url}/api/projects", json={"name": "shared"})
        assert made.status_code == 201, made.text
        self.project = made.json()["id"]
        self._tasks = [asyncio.ensure_future(self._work()) for _ in range(self._count)]

    async def _change(self, backend: Backend) -> None:
        """Change one part of the shared row, which no other request changes at the moment."""
        part = self._rnd.choice([part for part in PARTS if part not in self._changing] or [""])
        if not part:
            return
        self._numbers += 1
        value = f"v{self._numbers}"
        known, asked = self.ledger.shared.get(part, ("", set[str]()))
        self.ledger.shared[part] = known, {*asked, value}
        self._changing.add(part)
        try:
            change = {"name": value} if part == "name" else {"options": {part: value}}
            answer = await self._client.patch(f"{backend.url}/api/projects/{self.project}", json=change)
        finally:
            self._changing.discard(part)
        if answer.status_code == 200 and answer.headers.get("x-sync-status") == "synced":
            self.ledger.shared[part] = value, set()
        else:
            await self._refused(answer)

    async def _read(self, backend: Backend) -> None:
        expected = self.ledger.acknowledged | self.ledger.shown
        answer = await self._client.get(f"{backend.url}/api/projects")
        if answer.status_code != 200:
            await self._refused(answer)
            return
        found = {item["name"] for item in answer.json()["projects"] if item["id"] != self.project}
        if missing := expected - found:
            self.ledger.problems.append(f"a read lacks {sorted(missing)[:5]}, acknowledged or shown before it began")
        self.ledger.shown |= found

    async def _refused(self, answer: httpx.Response) -> None:
        status = answer.headers.get("x-sync-status")
        if answer.status_code != 503 or "retry-after" not in answer.headers:
            self.ledger.problems.append(f"{answer.status_code} {status}: {answer.text[:300]}")
        elif status == "conflict":
            self.ledger.conflicts += 1
        else:
            self.ledger.unavailable += 1
        await asyncio.sleep(self._rnd.uniform(0, 0.05))


def environment(**settings: str) -> dict[str, str]:
    """What a backend process is given: nothing of this process but PATH."""
    return {
        "PATH": os.environ["PATH"],
        "ENV": "staging",
        "APP_ENV": "staging",
        "MODAL_ENABLED": "false",
        "R2_ENABLED": "true",
        "R2_ACCESS_KEY_ID": "key",
        "R2_SECRET_ACCESS_KEY": "secret",
        "SYNC_READ_CHECK": "always",
        "GIT_COMMIT": "abc123",
        "PYTHONFAULTHANDLER": "1",
        **PATIENT,
        **settings,
    }
