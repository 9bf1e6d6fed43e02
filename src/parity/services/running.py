"""Starts all services and stubs before the first Machine, and stops them after the last one has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from parity.admin.app import serving
from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.services.errors import ServiceError
from parity.services.process import ServiceProcess
from parity.services.proxy import Proxy
from parity.services.stubs import Stubs

ADDRESS_S = 60.0
# Runs a command once in a Machine's environment; returns its exit code and its last lines.
RunOnce = Callable[[Sequence[str]], Awaitable[tuple[int, list[str]]]]


class Services:
    """A proxy for each service by name, and the stubs. As a context it stops all that ``open`` started."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._undo = AsyncExitStack()
        self.proxies: dict[str, Proxy] = {}
        self.stubs = Stubs(project.parity.stubs)

    async def __aenter__(self) -> Services:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._undo.aclose()

    async def open(self, run_once: RunOnce) -> None:
        """Start every service, open their proxies and the stubs, then migrate.

        Raises ``ServiceError`` for one that does not start or whose migration fails, ``ConfigError`` for a taken port.
        """
        started = {name: await self._start(name) for name in self._project.parity.services}
        if self._project.parity.stubs:
            await self._serve_stubs()
        for name, process in started.items():
            if command := self._project.parity.services[name].migrate:
                await _migrate(name, _in_image(command, process), run_once, process)

    async def _start(self, name: str) -> ServiceProcess | None:
        """Start a service and open its proxy; None for one that Compose runs."""
        project = self._project
        service, settings = project.parity.services[name], project.settings
        process = None
        if settings.driver == "process":
            if not service.command:
                raise ServiceError(f"service {name}: without Docker services.{name}.command must say how it runs")
            state = settings.state_dir / "services" / name
            process = ServiceProcess(name, service, state, settings.root, project.python)
            self._undo.push_async_callback(process.stop)
            await process.start()
            upstream = ("127.0.0.1", process.port)
        else:
            if not service.address:
                raise ServiceError(f"service {name}: with Docker services.{name}.address must name its compose service")
            host, _, port = service.address.partition(":")
            upstream = (host, int(port))
            await _until_open(name, upstream)
        proxy = self.proxies[name] = Proxy(settings.bind, project.service_port(name), upstream)
        try:
            await proxy.open()
        except OSError as error:
            raise ConfigError(
                f"parity.toml: services.{name}.port",
                f"cannot listen on port {proxy.port}: {error}",
                "a port that nothing else uses",
                "stop what uses it, or set PARITY_PORT_OFFSET",
            ) from None
        self._undo.push_async_callback(proxy.close)
        return process

    async def _serve_stubs(self) -> None:
        settings = self._project.settings
        try:
            await self._undo.enter_async_context(serving(self.stubs.app(), settings.bind, settings.stub_port))
        except OSError as error:
            raise ConfigError(
                "PARITY_STUB_PORT", f"cannot listen on port {settings.stub_port}: {error}", "a free port"
            ) from None


def _in_image(command: Sequence[str], process: ServiceProcess | None) -> Sequence[str]:
    """A process driver fills in a command's names itself; in an image the interpreter is the one on its PATH."""
    return command if process is not None else [word.replace("{python}", "python") for word in command]


async def _migrate(name: str, command: Sequence[str], run_once: RunOnce, process: ServiceProcess | None) -> None:
    """Run the migration of a service. If it fails on a database that was new, that database is deleted."""
    code, lines = await run_once(command)
    if code == 0:
        return
    empty = " on an empty database" if process is None or process.new else ""
    if process is not None and process.new:
        await process.stop()
        process.forget()
    told = "\n    ".join(lines or ["(none)"])
    raise ServiceError(f"services.{name}.migrate fails{empty} with exit code {code}; its last lines:\n    {told}")


async def _until_open(name: str, address: tuple[str, int]) -> None:
    end = asyncio.get_running_loop().time() + ADDRESS_S
    while True:
        try:
            _, writer = await asyncio.open_connection(*address)
        except OSError as error:
            if asyncio.get_running_loop().time() > end:
                raise ServiceError(f"service {name}: {address[0]}:{address[1]} does not answer ({error})") from None
            await asyncio.sleep(0.2)
        else:
            writer.close()
            return
