"""A whole stand-in in this process's loop, as the tests here use it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from parity.certs import Certificates
from parity.fly.server import Standin

SOURCE = Path(__file__).parent / "source"

FLY_TOML = """
app = "tiny"
primary_region = "lax"
kill_timeout = 2

[http_service]
internal_port = 8080
force_https = {force_https}
auto_stop_machines = "{autostop}"
auto_start_machines = true
min_machines_running = 0

[http_service.concurrency]
type = "requests"
soft_limit = {soft}
hard_limit = {hard}

[http_service.http_options]
compress = true

{checks}

[[vm]]
memory_mb = {memory}
"""

# A failed check keeps requests from the app. So the times are long: a busy machine starts and answers late.
CHECKS = """
[[http_service.checks]]
path = "/health"
interval = "1s"
timeout = "60s"
grace_period = "90s"
"""
# For apps that are to fail: results count soon. A Machine that starts more slowly fails this check at first.
QUICK = CHECKS.replace('"90s"', '"1s"')

# How long the edge waits for the port of a Machine that starts. A quick start is seen as soon as with the defaults.
PATIENT: dict[str, Any] = {"start_tries": 100, "start_window_s": 60.0}

UVICORN = ["{python}", "-m", "uvicorn", "echo:app", "--host", "{host}", "--port", "{port}", "--log-level", "warning"]


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], what: str, seconds: float = 60) -> None:
    """Poll until the condition holds."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if isinstance(result, bool):
                if result:
                    return
            elif await result:
                return
            await asyncio.sleep(0.02)


@dataclass
class Edge:
    """A stand-in under test."""

    standin: Standin
    certificates: Certificates
    state_dir: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.standin.ports.https}"

    @property
    def machine(self) -> Any:
        return next(iter(self.standin.fleet.machines.values()))

    def tls(self, *alpn: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.certificates.ca))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def client(self, *, http2: bool = False) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, verify=self.tls(), http2=http2, trust_env=False, timeout=60)

    async def raw(self, data: bytes, *, until_closed: bool = True) -> bytes:
        """What the edge answers to raw bytes on a TLS connection."""
        reader, writer = await self.connect()
        writer.write(data)
        async with asyncio.timeout(60):
            answer = await reader.read() if until_closed else await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return answer

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", self.standin.ports.https, ssl=self.tls("http/1.1"), server_hostname="localhost"
        )

    async def get(self, path: str) -> Any:
        async with self.client() as client:
            return json.loads((await client.get(path)).content)


StartEdge = Callable[..., Awaitable[Edge]]
