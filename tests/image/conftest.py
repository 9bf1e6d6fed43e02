"""The Fly image, built from the checkout (seconds where the builder has its cache) and looked into."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
REVISION = "0123456789abcdef0123456789abcdef01234567"

Inside = Callable[..., str]


@pytest.fixture(scope="session")
def build_ca() -> Path | None:
    """The roots that a build on this machine is given; the same choice as ``scripts/lib.sh`` makes."""
    names = ("PARITY_CA_FILE", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    found = (Path(os.environ[name]) for name in names if os.environ.get(name))
    return next((path for path in found if path.is_file()), None)


@pytest.fixture(scope="session")
def image(build_ca: Path | None) -> str:
    """Its id. Skips where no engine answers."""
    if shutil.which("docker") is None or subprocess.run(["docker", "version"], capture_output=True).returncode:
        pytest.skip("no Docker engine answers")
    secret = ["--secret", f"id=ca,src={build_ca}"] if build_ca else []
    argv = ["docker", "build", "--quiet", "--build-arg", f"GIT_COMMIT={REVISION}", *secret, str(ROOT)]
    built = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return built.stdout.strip()


@pytest.fixture(scope="session")
def metadata(image: str) -> dict[str, Any]:
    shown = subprocess.run(["docker", "image", "inspect", image], capture_output=True, text=True, check=True)
    (found,) = json.loads(shown.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="session")
def files(image: str) -> dict[str, int]:
    """Every regular file of the image, with its size in bytes."""
    listing = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", "--user", "0", image,
         "find", "/", "-xdev", "-type", "f", "-printf", "%s %p\\n"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    split = (line.split(" ", 1) for line in listing.stdout.splitlines())
    return {path: int(size) for size, path in split}


@pytest.fixture(scope="session")
def inside(image: str) -> Inside:
    """Runs a command in the image as a Machine would: its user, no network; returns what it prints."""

    def run(*argv: str, script: str | None = None) -> str:
        command = ["docker", "run", "--rm", "-i", "--network", "none", "--memory", "512m", image, *argv]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
