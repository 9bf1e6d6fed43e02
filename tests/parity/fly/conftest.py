"""Stand-ins in front of small apps run by the process driver, or by the one a test brings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.parity.fly.support import FLY_TOML, PATIENT, SOURCE, UVICORN, Edge, StartEdge, until

from parity.certs import Certificates, ensure_certificates
from parity.config.fly_toml import FlyConfig, load_fly_config
from parity.fly.machines.driver import Driver
from parity.fly.machines.process import ProcessDriver
from parity.fly.server import loopback_peers, standin
from parity.fly.settings import FlySettings, load_fly_settings


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    return ensure_certificates(folder / "ca", folder / "trust", ["localhost", "127.0.0.1"])


@pytest.fixture
async def start_edge(tmp_path: Path, certificates: Certificates) -> AsyncIterator[StartEdge]:
    """Starts stand-ins; ends them after the test."""
    async with AsyncExitStack() as stack:

        async def start(
            *,
            soft: int = 20,
            memory: int = 256,
            hard: int = 25,
            autostop: str = "off",
            force_https: bool = True,
            checks: str = "",
            toml: str = "",
            options: str = "",
            service: str = "",
            kill_timeout: int = 2,
            command: list[str] | None = None,
            environment: dict[str, str] | None = None,
            wait: bool = True,
            driver: Driver | None = None,
            commands: dict[str, tuple[str, ...]] | None = None,
            mounts: tuple[tuple[str, str], ...] = (),
            **changed: Any,
        ) -> Edge:
            path = tmp_path / "fly.toml"
            path.write_text(
                FLY_TOML.format(
                    soft=soft,
                    hard=hard,
                    memory=memory,
                    autostop=autostop,
                    checks=checks,
                    force_https=str(force_https).lower(),
                )
                .replace("compress = true", f"compress = true\n{options}")
                .replace("internal_port = 8080", f"internal_port = 8080\n{service}")
                .replace("kill_timeout = 2", f"kill_timeout = {kill_timeout}")
                + toml
            )
            config: FlyConfig = load_fly_config(path)
            settings: FlySettings = replace(load_fly_settings({}), **{**PATIENT, **changed})
            edge_peer, check_peer, host = loopback_peers()
            if driver is None:
                driver = ProcessDriver(SOURCE.parent, SOURCE.name, command or UVICORN, tmp_path / "state", host)
            else:
                edge_peer = check_peer = None
            running = standin(
                config,
                settings,
                driver,
                environment or {},
                certificates,
                "127.0.0.1",
                0,
                0,
                (edge_peer, check_peer),
                tmp_path / "state",
                commands=commands,
                mounts=mounts,
            )
            edge = Edge(await stack.enter_async_context(running), certificates, tmp_path / "state")
            if wait:
                await until(lambda: edge.standin.fleet.healthy, "healthy")
            return edge

        yield start


@pytest.fixture
async def edge(start_edge: StartEdge) -> Edge:
    """The usual one."""
    return await start_edge()
