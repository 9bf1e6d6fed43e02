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
        *argv: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout: float = 400
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


def copy_of_checkout(target: Path) -> Path:
    """A fresh checkout in ``target``: what git tracks, as it is in the working tree, committed again."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    git = ["git", "-C", str(target), "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], capture_output=True, check=True)
    return target


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_of_checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def engine() -> None:
    """Skips where no Docker engine with Compose answers."""
    for argv in (["docker", "version"], ["docker", "compose", "version"]):
        if shutil.which("docker") is None or subprocess.run(argv, capture_output=True, check=False).returncode:
            pytest.skip("no Docker engine with Compose answers")
