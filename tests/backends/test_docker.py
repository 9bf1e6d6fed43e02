"""A repository of others under Docker, as docs/your-own-backend.md has it: its image is built from its own Dockerfile,
which stays as it is, and containers of it are checked."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.backends.repository import HERE, Repository

# Whose images they are: the same layers are found again by the next run of this checkout.
PROJECT = f"foreign-{zlib.crc32(str(HERE).encode()):08x}"
CONTROLS = ("test_someone_new_can_come", "test_writes_last")
MEMORY = "test_memory_suffices"
BASE = "python:3.11-slim-bookworm"

pytestmark = pytest.mark.timeout(900)


def docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=False)


@pytest.fixture
def scout(tmp_path: Path) -> Iterator[Repository]:
    """Sources and fly.toml in folders of their own, an outside API."""
    if shutil.which("docker") is None or docker("image", "inspect", BASE).returncode:
        pytest.skip(f"no Docker engine answers, or it lacks {BASE}")
    given = {"PARITY_DRIVER": "docker", "COMPOSE_PROJECT_NAME": PROJECT}
    found = Repository.copied("scout", tmp_path, Path(sys.executable), given=given)
    yield found
    found.parity("down", "--volumes")
    docker("image", "rm", "--force", *docker("image", "ls", "--quiet", f"{PROJECT}-*").stdout.split())


def test_a_foreign_repository_is_built_and_checked_under_docker(scout: Repository) -> None:
    fly = scout.folder / "deploy/fly.staging.toml"
    # Its image runs as a user of its own, who may not write to a new volume.
    fly.write_text(fly.read_text("utf-8") + '\n[mounts]\n  source = "notes"\n  destination = "/notes"\n', "utf-8")
    before = {name: (scout.folder / name).read_bytes() for name in ("Dockerfile", ".dockerignore", str(fly))}
    assert "wrote    compose.yaml" in scout.parity("init")
    scout.parity("config", "write")
    scout.parity("up")
    names = (*CONTROLS, "test_environment", "test_image", MEMORY)
    ended = scout.check(f"({' or '.join(names)} or test_volumes_writable) and not test_environments")
    volumes = ended.pop("test_volumes_writable")
    assert {name: one.verdict for name, one in ended.items()} == dict.fromkeys(names, "passed"), ended
    assert volumes.verdict == "failed"
    assert "cannot write to /notes" in volumes.reason
    assert {name: (scout.folder / name).read_bytes() for name in before} == before

    scout.set_mistake("poster_unchecked")
    scout.parity("up")
    ended = scout.check(" or ".join((*CONTROLS, MEMORY)))
    assert {name: ended[name].verdict for name in CONTROLS} == dict.fromkeys(CONTROLS, "passed"), ended
    assert ended[MEMORY].verdict == "failed"
    assert "a process of it was killed for memory. fly.toml gives it 512 MB" in ended[MEMORY].reason
