"""Two checkouts on one engine: nothing that one does touches what the other started.

The other checkout's stack is a container and a volume with the labels that Compose gives them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.infra.conftest import Run, copy_of_checkout
from tests.ports import free_ports

from parity.config.names import project_name

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("engine")]
BASE = os.environ.get("PARITY_BASE_IMAGE") or "python:3.11-slim-bookworm"
WAYS = {"virtual environment": sys.prefix, "harness image": "/nonexistent"}


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


@dataclass
class Stack:
    """A container of ``folder``'s project, as Compose would start it."""

    folder: Path
    container: str
    volume: str

    @property
    def runs(self) -> bool:
        listed = docker("ps", "--no-trunc", "--format", "{{.ID}}").split()
        return self.container in listed and self.volume in docker("volume", "ls", "-q").split()


def start(folder: Path, project: str) -> Stack:
    labels = {
        "com.docker.compose.project": project,
        "com.docker.compose.project.working_dir": str(folder),
        "com.docker.compose.project.config_files": str(folder / "compose.yaml"),
        "com.docker.compose.service": "r2",
        "com.docker.compose.container-number": "1",
        "com.docker.compose.oneoff": "False",
        "com.docker.compose.config-hash": "x",
    }
    volume = f"{project}_r2"
    marks = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
    docker("volume", "create", "--label", f"com.docker.compose.project={project}",
           "--label", "com.docker.compose.volume=r2", volume)  # fmt: skip
    running = ["--detach", "--network", "none", "--stop-timeout", "1", "--volume", f"{volume}:/state"]
    return Stack(folder, docker("run", *running, *marks, BASE, "sleep", "600").strip(), volume)


def remove(stack: Stack) -> None:
    subprocess.run(["docker", "rm", "--force", stack.container], capture_output=True, check=False)
    subprocess.run(["docker", "volume", "rm", "--force", stack.volume], capture_output=True, check=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two checkouts in folders of the same name, with a space and capitals in it."""
    name = f"My Reels {os.getpid()}"
    first, second = (tmp_path_factory.mktemp(place) / name for place in ("first", "second"))
    return copy_of_checkout(first), copy_of_checkout(second)


@pytest.fixture
def other(folders: tuple[Path, Path]) -> Iterator[Stack]:
    """The stack of the first checkout."""
    stack = start(folders[0], project_name(folders[0], {}))
    yield stack
    remove(stack)


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def way(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where ``parity`` runs; the ports are free, so that only the owner can be the reason for a refusal."""
    names = ("API", "API_HTTP", "FRONTEND", "FRONTEND_TLS", "R2", "MODAL", "MODAL_BLOB", "ADMIN")
    ports = zip(names, free_ports(len(names)), strict=True)
    return {"VENV": request.param, **{f"PARITY_{name}_PORT": str(port) for name, port in ports}}


@pytest.mark.parametrize("arguments", [("down",), ("down", "--volumes")], ids=" ".join)
def test_down_leaves_the_other_stack_and_its_data(
    run: Run, folders: tuple[Path, Path], other: Stack, way: dict[str, str], arguments: tuple[str, ...]
) -> None:
    result = run("scripts/stack", *arguments, cwd=folders[1], env=way)
    assert result.returncode == 0, result.stderr
    assert other.runs
    assert str(folders[0]) in result.stdout


@pytest.mark.parametrize("verb", ["up", "status", "urls", "logs", "run-checks"])
def test_the_other_stack_is_neither_adopted_nor_shown_nor_checked(
    run: Run, folders: tuple[Path, Path], other: Stack, way: dict[str, str], verb: str
) -> None:
    result = run("scripts/stack", verb, cwd=folders[1], env=way)
    assert result.returncode == 1
    assert other.runs
    assert str(folders[0]) in result.stderr
    assert f"COMPOSE_PROJECT_NAME={project_name(folders[1], {})}-2 PARITY_PORT_OFFSET=100 make up" in result.stderr
    assert result.stdout == ""


def test_the_own_stack_is_shown_and_stopped_by_whatever_link_its_folder_was_reached(
    run: Run, folders: tuple[Path, Path], other: Stack, way: dict[str, str], tmp_path: Path
) -> None:
    link = tmp_path / folders[0].name
    link.symlink_to(folders[0])
    shown = run("scripts/stack", "status", cwd=link, env={**way, "PWD": str(link)})
    assert "r2         running" in shown.stdout
    assert run("scripts/stack", "down", "--volumes", cwd=link, env={**way, "PWD": str(link)}).returncode == 0
    assert not other.runs


def test_two_folders_of_different_names_have_projects_and_images_of_their_own(run: Run, tmp_path: Path) -> None:
    found = []
    for name in ("Reels A", "reels-b"):
        checkout = copy_of_checkout(tmp_path / name)
        shown = json.loads(run("docker", "compose", "config", "--format", "json", cwd=checkout).stdout)
        found.append((shown["name"], {service["image"] for service in shown["services"].values()}))
    assert [name for name, _ in found] == ["reelsa", "reels-b"]
    assert not found[0][1] & found[1][1]


def test_a_port_that_the_other_stack_has_is_named_with_its_folder(
    run: Run, folders: tuple[Path, Path], way: dict[str, str]
) -> None:
    port = way["PARITY_R2_PORT"]
    label = f"com.docker.compose.project.working_dir={folders[0]}"
    publish = ["--publish", f"127.0.0.1:{port}:80", "--label", label, "--stop-timeout", "1"]
    holder = docker("run", "--detach", *publish, BASE, "sleep", "600").strip()
    try:
        result = run("scripts/stack", "up", cwd=folders[1], env=way)
    finally:
        docker("rm", "--force", holder)
    assert result.returncode == 1
    assert f"port {port} (PARITY_R2_PORT) is taken by container" in result.stderr
    assert str(folders[0]) in result.stderr
    assert docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={project_name(folders[1], {})}") == ""


def test_down_after_a_stack_of_processes_ends_processes_only(
    run: Run, folders: tuple[Path, Path], other: Stack
) -> None:
    """As the first case was found: B starts processes and stops them, and A's containers were gone."""
    checkout = folders[1]
    state = checkout / ".parity"
    state.mkdir(exist_ok=True)
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)
    part = {
        "name": "r2",
        "process": {"pid": sleeper.pid, "started": _started(sleeper.pid)},
        "health_url": "",
        "log": "",
    }
    (state / "process.json").write_text(json.dumps({"version": 1, "settings": {}, "parts": [part], "ready": True}))
    try:
        result = run("scripts/stack", "down", cwd=checkout, env={"VENV": sys.prefix})
        assert result.returncode == 0, result.stderr
        assert "stopped r2" in result.stdout
        assert sleeper.wait(60) == -15
    finally:
        sleeper.kill()
    assert other.runs


def _started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
