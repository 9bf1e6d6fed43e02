"""Serve a service: S3 over TLS and the admin API beside it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from parity.admin.app import serving
from parity.certs import Certificates, ensure_certificates
from parity.config.project import Project
from parity.r2.admin import Admin
from parity.r2.connection import BufferedConnection
from parity.r2.service import Service, running
from parity.r2.settings import R2Settings, load_r2_settings

# Longer than any client keeps a pooled connection. The client therefore closes first, and no request is sent on a
# connection that the server is closing.
KEEP_ALIVE_SECONDS = 75

# Seconds for requests in progress when the stand-in stops. A request that is not done by then gets no answer.
GRACE_SECONDS = 10


@dataclass(frozen=True)
class Ports:
    """The bound ports."""

    s3: int
    admin: int


@asynccontextmanager
async def serve_s3(
    settings: R2Settings, host: str, s3_port: int, admin_port: int, certificates: Certificates | None
) -> AsyncIterator[tuple[Service, Ports]]:
    """The running stand-in; without certificates it serves plain HTTP. Raises ``OSError`` for a port in use and
    ``ConfigError`` for broken saved state."""
    tls = {} if certificates is None else {"ssl_certfile": certificates.chain, "ssl_keyfile": certificates.key}
    async with running(settings) as service:
        options = {
            "http": BufferedConnection,
            "server_header": False,
            "timeout_keep_alive": KEEP_ALIVE_SECONDS,
            "timeout_graceful_shutdown": GRACE_SECONDS,
            "proxy_headers": False,
            "ws": "none",
            "ssl_version": ssl.PROTOCOL_TLS_SERVER,
            **tls,
        }
        async with (
            serving(service.front, host, s3_port, **options) as s3,
            serving(Admin(service).app(), host, admin_port) as admin,
        ):
            yield service, Ports(s3, admin)


async def serve_project(project: Project) -> None:
    """Serve until SIGTERM or SIGINT, then save the state."""
    harness = project.settings
    certificates = ensure_certificates(harness.ca_dir, harness.trust_dir, project.certificate_names)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings = load_r2_settings(project)
    async with serve_s3(settings, harness.bind, harness.r2_port, harness.r2_admin_port, certificates) as (_, ports):
        print(f"r2: {harness.r2_url} (admin on port {ports.admin}), bucket {settings.bucket}", flush=True)  # noqa: T201
        with contextlib.suppress(asyncio.CancelledError):
            await stop.wait()
