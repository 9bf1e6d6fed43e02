"""The process of the control plane: its gRPC, HTTP and admin servers share one ``Plane``."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parity.admin.app import serving
from parity.config.errors import ConfigError
from parity.modal.admin import admin_app
from parity.modal.config import ModalConfig
from parity.modal.http import http_app
from parity.modal.plane import Plane
from parity.modal.transport import grpc_server


@asynccontextmanager
async def running(config: ModalConfig) -> AsyncIterator[Plane]:
    """Run all three servers. Raises ConfigError with the name of the setting if a port is in use."""
    plane = Plane(config)
    server = grpc_server(plane)
    try:
        try:
            await server.start(config.bind, config.port)
        except OSError as error:
            raise _taken("PARITY_MODAL_PORT", config.port, error) from error
        try:
            async with (
                _http(plane, "PARITY_MODAL_BLOB_PORT", config.blob_port, http_app(plane)),
                _http(plane, "PARITY_MODAL_ADMIN_PORT", config.admin_port, admin_app(plane)),
            ):
                yield plane
                # End gRPC first; otherwise the HTTP servers would wait for open long polls.
                server.close()
                await server.wait_closed()
        finally:
            server.close()
    finally:
        plane.close()


async def serve(config: ModalConfig) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with running(config):
        print(f"modal: control plane on {config.url}, payloads on port {config.blob_port}", flush=True)  # noqa: T201
        await stop.wait()


@asynccontextmanager
async def _http(plane: Plane, setting: str, port: int, app: object) -> AsyncIterator[None]:
    try:
        context = serving(app, plane.config.bind, port, ws_ping_interval=5.0, timeout_graceful_shutdown=1)  # type: ignore[arg-type]
        await context.__aenter__()
    except OSError as error:
        raise _taken(setting, port, error) from error
    try:
        yield
    finally:
        await context.__aexit__(None, None, None)


def _taken(setting: str, port: int, error: OSError) -> ConfigError:
    return ConfigError(setting, f"cannot listen on port {port}: {error}", "a free port", f"set {setting}")
