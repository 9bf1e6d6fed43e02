"""Fixtures for what starts and builds the stack: scripts are run as a person runs them, with a clean environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a script may inherit: nothing of PARITY_* or COMPOSE_* that a developer or `make test` has set.
KEPT = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "PIP_CERT", "SSL_CERT_FILE")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def root() -> Path:
    return ROOT


@pytest.fixture
def run() -> Run:
    def run_(
        *argv: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout: float = 100
    ) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return subprocess.run(
            [str(word) for word in argv],
            cwd=cwd,
            env={**kept, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run_


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips where no Docker engine with Compose answers."""
    for argv in (["docker", "version"], ["docker", "compose", "version"]):
        if shutil.which("docker") is None or subprocess.run(argv, capture_output=True, check=False).returncode:
            pytest.skip("no Docker engine with Compose answers")
