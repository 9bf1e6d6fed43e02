"""An R2 stand-in over TLS, Machines that share its bucket, and the real Litestream beside them."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.backend.replication.go_tools import Unavailable, go_tool

from app import threads
from app.context import UserContext
from app.db import schema
from app.replication.log import Options
from app.replication.maintenance import Maintainer
from app.replication.object_replica import ObjectReplica
from app.replication.replica import Replica
from app.settings import Settings
from app.storage.interface import ObjectStore
from app.storage.keys import Keys
from app.storage.r2 import R2Store
from parity.certs import Certificates, ensure_certificates
from parity.r2.admin import OPERATIONS
from parity.r2.server import serve_s3
from parity.r2.service import Service
from parity.r2.settings import R2Settings
from parity.r2.sigv4 import Token

BUCKET = "bucket"
SERVER = R2Settings(BUCKET, (Token("key", "secret"),), (), save_seconds=0)
CONTEXT = UserContext("alice", "main")
PROFILE = Keys("staging").profile(CONTEXT)
REPLICA = PROFILE.database_folder


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes long; runs with RUN_SLOW=1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("RUN_SLOW") == "1":
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: set RUN_SLOW=1 to run it"))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    return ensure_certificates(folder / "ca", folder / "trust", ["localhost", "127.0.0.1"])


@dataclass
class Server:
    """The stand-in's inside, and the settings that lead a backend to it."""

    service: Service
    url: str
    ca: Path
    make_settings: Callable[..., Settings]

    def fault(self, **what: Any) -> None:
        self.service.front.faults.add(what, OPERATIONS)

    def settings(self, **changes: str) -> Settings:
        return self.make_settings(**{"R2_ENDPOINT": self.url, **changes})

    def environment(self) -> dict[str, str]:
        """For Go programs: AWS_CA_BUNDLE would make Litestream fail."""
        return {
            "PATH": os.environ["PATH"],
            "SSL_CERT_FILE": str(self.ca),
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }


@pytest.fixture
async def server(
    certificates: Certificates, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.ca))
    async with serve_s3(SERVER, "127.0.0.1", 0, 0, certificates) as (service, ports):
        yield Server(service, f"https://localhost:{ports.s3}", certificates.ca, make_settings)


@pytest.fixture
async def r2(server: Server) -> AsyncIterator[R2Store]:
    made = R2Store(server.settings())
    yield made
    await made.close()


@dataclass
class Machines:
    """Makes replicas of the one profile, each with a disk of its own; ``wall`` is what their wall clocks show."""

    folder: Path
    store: ObjectStore
    options: Options = field(default_factory=lambda: Options(read_check=0.0))
    made: list[Replica] = field(default_factory=list)
    executor: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))
    wall: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    _names: Any = field(default_factory=itertools.count)

    def start(self, **changes: Any) -> Replica:
        replica = Replica(
            ObjectReplica(self.store, PROFILE),
            self.folder / f"disk{next(self._names)}" / "database.sqlite",
            secrets.randbits(63),
            changes.get("options", self.options),
            changes.get("schema", schema),
            run=functools.partial(threads.run, self.executor),
            now=time.monotonic,
            wall_ms=lambda: self.wall(),
        )
        Maintainer(replica)
        self.made.append(replica)
        return replica

    async def close(self) -> None:
        for replica in self.made:
            await replica.close()
        self.executor.shutdown()


@pytest.fixture
async def machines(tmp_path: Path, r2: R2Store) -> AsyncIterator[Machines]:
    made = Machines(tmp_path, r2)
    yield made
    await made.close()


@dataclass
class GoTools:
    """Runs the real tools against the stand-in."""

    server: Server
    folder: Path

    async def run(self, name: str, *arguments: str) -> tuple[int, str]:
        """Its exit code and what it printed."""
        process = await asyncio.create_subprocess_exec(
            go_tool(name),
            *arguments,
            env=self.server.environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(300):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, out.decode()

    def url(self, prefix: str = REPLICA) -> str:
        return f"s3://{BUCKET}/{prefix.rstrip('/')}?endpoint={self.server.url}&region=auto"

    async def restore(self, *arguments: str, prefix: str = REPLICA) -> bytes:
        """The bytes of the database that `litestream restore` writes."""
        out = self.folder / f"restored-{secrets.token_hex(4)}.db"
        code, said = await self.run("litestream", "restore", "-o", str(out), *arguments, self.url(prefix))
        assert code == 0, said
        return out.read_bytes()

    async def verify_files(self, store: ObjectStore, prefix: str = REPLICA) -> int:
        """Let `ltx verify` look at every file; how many there were."""
        folder = self.folder / f"files-{secrets.token_hex(4)}"
        folder.mkdir()
        names = []
        for item in await store.list(prefix):
            name = folder / item.key.removeprefix(prefix).replace("/", "-")
            name.write_bytes((await store.get_bytes(item.key)).data)
            names.append(str(name))
        code, said = await self.run("ltx", "verify", *names)
        assert code == 0, said
        return len(names)


@pytest.fixture
def go_tools(server: Server, tmp_path: Path) -> GoTools:
    try:
        for name in ("litestream", "ltx"):
            go_tool(name)
    except Unavailable as error:
        pytest.skip(str(error))
    return GoTools(server, tmp_path)
