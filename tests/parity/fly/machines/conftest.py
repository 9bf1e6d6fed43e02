"""Machines as containers, on the engine of whoever runs the tests; skipped without one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp
import pytest
from tests.parity.fly.machines.engine import CA_PATH, IMAGE, build
from tests.parity.fly.support import Edge, StartEdge

from parity.fly.machines.docker import DockerDriver
from parity.fly.settings import load_fly_settings


@pytest.fixture
async def docker() -> AsyncIterator[Any]:
    try:
        client = aiodocker.Docker()
    except AssertionError:
        pytest.skip("no Docker engine: no socket was found")
    try:
        await client.version()
    except (aiodocker.DockerError, aiohttp.ClientError) as error:
        await client.close()
        pytest.skip(f"no Docker engine answers: {error}")
    yield client
    await client.close()


@pytest.fixture
async def image(docker: Any) -> str:
    try:
        await docker.images.inspect("python:3.11-slim-bookworm")
    except aiodocker.DockerError:
        pytest.skip("the base image python:3.11-slim-bookworm is not on this engine")
    await build(docker, IMAGE)
    return IMAGE


@pytest.fixture
async def project(docker: Any) -> AsyncIterator[str]:
    """A compose project's network, removed after the test."""
    name = f"parity-test-{os.getpid()}-{os.urandom(3).hex()}"
    network = await docker.networks.create({"Name": f"{name}_machines", "Labels": {"com.docker.compose.project": name}})
    yield name
    await network.delete()


@pytest.fixture
def driver(image: str, project: str, tmp_path: Path) -> DockerDriver:
    ca = tmp_path / "ca.pem"
    ca.write_text("the trust anchor")
    settings = replace(load_fly_settings({}), project=project)
    return DockerDriver(image, tmp_path / "state", settings, ca, CA_PATH)


@pytest.fixture
async def container_edge(driver: DockerDriver, start_edge: StartEdge) -> Edge:
    environment = {"APP_ENV": "staging", "AWS_CA_BUNDLE": CA_PATH}
    return await start_edge(driver=driver, environment=environment, kill_timeout=60)
