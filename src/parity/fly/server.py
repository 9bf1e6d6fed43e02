"""Builds the Fly stand-in from the configuration and runs it until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from parity.admin.app import serving
from parity.admin.gateway import gateway_routes
from parity.certs import Certificates, ensure_certificates, publish_ca
from parity.config.errors import ConfigError
from parity.config.fly_toml import FlyConfig
from parity.config.project import PARITY_TOML, Project, machine_environment
from parity.config.settings import HarnessSettings
from parity.config.toml_file import read_toml
from parity.fly.admin import AdminParts, admin_app
from parity.fly.api.web import api_routes
from parity.fly.binding import binding
from parity.fly.development import Development, Sources
from parity.fly.development_admin import debug_functions, dev_routes, redeploy
from parity.fly.edge.context import EdgeContext
from parity.fly.edge.listener import Ports, listening
from parity.fly.edge.upstream import Pool
from parity.fly.fleet import Fleet, FleetParts, RunOnce
from parity.fly.interposer import Interposer
from parity.fly.machines.cpu import CpuMode
from parity.fly.machines.docker import DockerDriver
from parity.fly.machines.driver import Address, Driver
from parity.fly.machines.process import ProcessDriver
from parity.fly.settings import FlySettings, load_fly_settings
from parity.services.admin import service_routes
from parity.services.running import Services

# Loopback addresses for the process driver. The edge and the health checks do not connect from 127.0.0.1, because many
# servers trust that peer's forwarding headers. Machines are reached at another address than 127.0.0.1, so that an app
# that binds only to 127.0.0.1 is unreachable. Both are as on Fly. macOS has only 127.0.0.1.
EDGE_PEER, MACHINE_HOST, CHECK_PEER = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@dataclass
class Standin:
    """The parts of a running stand-in."""

    fleet: Fleet
    context: EdgeContext
    ports: Ports
    interposer: Interposer


@asynccontextmanager
async def standin(
    config: FlyConfig,
    settings: FlySettings,
    driver: Driver,
    environment: dict[str, str],
    certificates: Certificates,
    bind: str,
    https_port: int,
    http_port: int,
    peers: tuple[Address | None, Address | None] = (None, None),
    state_dir: Path | None = None,
    prepare: Callable[[RunOnce], Awaitable[None]] | None = None,
    commands: Mapping[str, tuple[str, ...]] | None = None,
    mounts: tuple[tuple[str, str], ...] = (),
    root: Path = Path(),
) -> AsyncIterator[Standin]:
    """Run the edge, the gate and the Machines. When the block ends, the Machines are stopped and removed.

    ``peers`` are the addresses that the edge and the health checks connect from. ``state_dir`` stores the release in
    force and the images that ran; without it, a restart begins with the configured image.
    """
    parts = FleetParts(config, settings, driver, environment, state_dir, *peers)
    if prepare is not None:
        parts.prepare = prepare
    parts.commands, parts.root = commands or {}, root
    parts.mounts = mounts
    fleet = Fleet(parts)
    interposer = Interposer(peers[0])
    pool = Pool(peers[0], settings.reuse_s, http2=config.service.http_options.h2_backend)
    context = EdgeContext(config, settings, fleet.gate, pool, interposer, lambda: fleet.paused())

    def leaving(machine: str, close_websockets: bool) -> None:
        if close_websockets:
            context.goaway(machine, settings.goaway_code)
        context.pool.close(machine)

    parts.leaving = leaving
    async with listening(context, certificates, bind, https_port, http_port) as ports:
        try:
            await fleet.open()
            yield Standin(fleet, context, ports, interposer)
        finally:
            await fleet.close()
            await interposer.close()
            context.pool.close()


def loopback_peers() -> tuple[Address | None, Address | None, str]:
    """The addresses that the edge and the checks connect from, and the host of process Machines.

    On a system that has only 127.0.0.1: None, None and 127.0.0.1.
    """
    with socket.socket() as probe:
        try:
            probe.bind((EDGE_PEER, 0))
        except OSError:
            return None, None, "127.0.0.1"
    return (EDGE_PEER, 0), (CHECK_PEER, 0), MACHINE_HOST


def people_urls(harness: HarnessSettings, fly: FlySettings) -> dict[str, str]:
    """Where people on this computer find the parts. In a container the ports and names inside are others."""
    return {
        "api": f"https://localhost:{fly.public_port or harness.api_port}",
        "frontend": harness.frontend_url,
        "r2": harness.r2_url,
        "modal": f"http://localhost:{harness.modal_port}",
    }


async def serve(environ: Mapping[str, str]) -> None:
    """Serve until SIGINT or SIGTERM. Raises ``ConfigError`` and ``DriverError`` before anything is started."""
    settings = load_fly_settings(environ)
    project = Project.load(environ)
    harness = project.settings
    edge_peer, check_peer, host = loopback_peers()
    driver: Driver
    commands: dict[str, tuple[str, ...]] = {}
    if harness.driver == "docker":
        edge_peer = check_peer = None
        driver = DockerDriver(
            project.image,
            harness.state_dir,
            settings,
            harness.trust_dir / "ca.pem",
            project.standin_env.get("AWS_CA_BUNDLE"),
            harness.root,
        )
    else:
        if settings.cpu != CpuMode.OFF:
            raise ConfigError("PARITY_FLY_CPU", "processes have no CPU quota", "off, or PARITY_DRIVER=docker")
        process, commands = project.process, project.group_commands
        driver = ProcessDriver(
            harness.root, process.directory, process.command, harness.state_dir, host, project.python, process.env
        )
    certificates = ensure_certificates(harness.ca_dir, harness.trust_dir, project.certificate_names)
    if harness.publish_dir:
        publish_ca(certificates.ca, Path(harness.publish_dir), harness.root / PARITY_TOML)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    services = Services(project)
    running = standin(
        project.fly,
        settings,
        driver,
        machine_environment(project),
        certificates,
        harness.bind,
        harness.api_port,
        harness.api_http_port,
        (edge_peer, check_peer),
        harness.state_dir,
        services.open,
        commands,
        tuple(project.parity.dev.mounts.items()),
        harness.root,
    )
    async with services, running as fly:
        urls = people_urls(harness, settings)
        parts = AdminParts(fly.fleet, fly.context, project.fly.deploy.wait_timeout_s, urls, fly.interposer)
        standins = {"r2": harness.r2_admin_url}
        if project.parity.gpu:
            standins["modal"] = harness.modal_admin_url

        async def deploy_functions() -> str:
            return await redeploy(harness.modal_admin_url)

        async def debug_gpu(on: bool) -> str:
            return await debug_functions(harness.modal_admin_url, on=on) if project.parity.gpu else ""

        sources = Sources.of(project, poll=settings.poll)
        development = Development(fly.fleet, sources, deploy_functions, debug_gpu, (harness.bind, harness.debug_port))
        await development.resume()
        routes = [
            *gateway_routes(standins),
            *service_routes(services),
            *dev_routes(development, project.fly.deploy.wait_timeout_s),
            *api_routes(
                project.fly,
                fly.fleet,
                harness.state_dir,
                project.secrets,
                {**project.standin_env, **project.overrides},
                read_toml(harness.root / project.parity.app.fly_config),
            ),
        ]
        async with AsyncExitStack() as admin:
            with binding("PARITY_ADMIN_PORT", harness.bind, harness.admin_port):
                await admin.enter_async_context(serving(admin_app(parts, routes), harness.bind, harness.admin_port))
            sys.stdout.write(f"fly: {project.fly.app} at {harness.api_url}, admin at {harness.admin_url}\n")
            sys.stdout.flush()
            try:
                await stop.wait()
            finally:
                await development.close()
