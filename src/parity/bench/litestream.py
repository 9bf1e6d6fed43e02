"""Runs Litestream's `replicate` for comparison: each write is followed by a sync that waits for the replica."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import httpx

from app.db import schema

BINARY = Path.home() / ".cache" / "parity" / "bin" / "litestream"
"""The path to which the tests build it; without it the comparison is left out."""
_START_SECONDS = 120.0


class LitestreamFailed(Exception):
    """Litestream did not start or refused to sync; the message contains its log or its answer."""


def configuration(database: Path, socket: Path, environ: dict[str, str]) -> str:
    """The text for `replicate -config`, as JSON, which is also YAML."""
    replica = {
        "type": "s3",
        "bucket": environ["R2_BUCKET"],
        "path": f"bench/{database.parent.name}",
        "endpoint": environ["R2_ENDPOINT"],
        "region": "auto",
        "force-path-style": True,
        "access-key-id": environ["R2_ACCESS_KEY_ID"],
        "secret-access-key": environ["R2_SECRET_ACCESS_KEY"],
    }
    return json.dumps(
        {
            "socket": {"enabled": True, "path": str(socket)},
            "dbs": [{"path": str(database), "replica": replica}],
        }
    )


class Litestreamed:
    """A database that a running Litestream replicates."""

    def __init__(self, path: Path, client: httpx.AsyncClient) -> None:
        self._path, self._client = path, client
        self._thread = ThreadPoolExecutor(1)
        self._connection = apsw.Connection(str(path))
        self._connection.pragma("journal_mode", "wal")
        self._connection.pragma("synchronous", "normal")
        self._connection.wal_autocheckpoint(0)
        self._connection.set_busy_timeout(5000)
        schema.migrate(self._connection)

    async def write(self, change: Callable[[apsw.Connection], object]) -> None:
        """Apply ``change``; returns when Litestream reports it as replicated. Raises ``LitestreamFailed``."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._apply, change)
        answer = await self._client.post("/sync", json={"path": str(self._path), "wait": True, "timeout": 30})
        if answer.status_code != 200:
            raise LitestreamFailed(answer.text)

    async def started(self) -> None:
        """Wait until the control socket syncs the database. Raises ``TimeoutError`` after 20 s."""
        async with asyncio.timeout(_START_SECONDS):
            while True:
                try:
                    answer = await self._client.post("/sync", json={"path": str(self._path), "wait": True})
                except httpx.TransportError:
                    answer = None
                if answer is not None and answer.status_code == 200:
                    return
                await asyncio.sleep(0.1)

    def close(self) -> None:
        self._thread.shutdown()
        self._connection.close()

    def _apply(self, change: Callable[[apsw.Connection], object]) -> None:
        with self._connection:
            change(self._connection)


@asynccontextmanager
async def litestream(folder: Path) -> AsyncIterator[Litestreamed]:
    """A database in ``folder`` and a Litestream process that replicates it to the stand-in of ``R2_*``.

    Raises ``LitestreamFailed``.
    """
    folder.mkdir(parents=True)
    path, socket, log = folder / "database.sqlite", folder / "s", folder / "log"
    transport = httpx.AsyncHTTPTransport(uds=str(socket), limits=httpx.Limits(max_connections=None))
    environ = dict(os.environ)
    # Litestream fails with AWS_CA_BUNDLE; Go reads SSL_CERT_FILE.
    environ["SSL_CERT_FILE"] = environ.pop("AWS_CA_BUNDLE")
    (folder / "config").write_text(configuration(path, socket, environ))
    async with httpx.AsyncClient(transport=transport, base_url="http://litestream", timeout=60) as client:
        database = Litestreamed(path, client)
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                str(BINARY), "replicate", "-config", str(folder / "config"), env=environ, stdout=out, stderr=out
            )
        try:
            try:
                await database.started()
            except TimeoutError as error:
                raise LitestreamFailed(log.read_text()[-2000:]) from error
            yield database
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            database.close()
