"""``make up`` when something is wrong: it says what, where and what to do, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.infra.conftest import Run

PROJECT = "parity-infra-tests"


def containers() -> str:
    label = f"label=com.docker.compose.project={PROJECT}"
    return subprocess.run(["docker", "ps", "-aq", "--filter", label], capture_output=True, text=True, check=True).stdout


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture
def ports() -> dict[str, str]:
    names = ("API", "API_HTTP", "FRONTEND", "FRONTEND_TLS", "R2", "MODAL", "MODAL_BLOB", "ADMIN")
    free = free_ports(len(names))
    chosen = {f"PARITY_{name}_PORT": str(port) for name, port in zip(names, free, strict=True)}
    return {**chosen, "COMPOSE_PROJECT_NAME": PROJECT}


@pytest.fixture
def own_image() -> Iterator[None]:
    """The harness image of this project is removed again."""
    yield
    subprocess.run(["docker", "rmi", "--force", f"{PROJECT}-standins"], capture_output=True, check=True)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.fixture
def virtual_environment(tmp_path: Path, root: Path) -> Path:
    """One that ``scripts/venv`` finds up to date, whose ``parity`` writes down how it was called."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").symlink_to(sys.executable)
    parity = folder / "bin/parity"
    parity.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    parity.chmod(0o755)
    files = ["dev.txt"] if shutil.which("ffmpeg") and shutil.which("ffprobe") else ["dev.txt", "ffmpeg.txt"]
    content = b"".join((root / "requirements" / name).read_bytes() for name in files)
    (folder / ".requirements").write_text(hashlib.sha256(content).hexdigest() + "  -\n")
    return folder


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_a_taken_port_is_named_with_the_setting_that_moves_it(run: Run, ports: dict[str, str], taken: int) -> None:
    result = run("scripts/up", env={**ports, "PARITY_R2_PORT": str(taken)})
    assert result.returncode == 1
    assert f"port {taken} is taken" in result.stderr
    assert "PARITY_R2_PORT=…" in result.stderr
    assert containers() == ""


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("value", ["http", "0", "70000"])
def test_a_port_that_is_none_is_refused(run: Run, ports: dict[str, str], value: str) -> None:
    result = run("scripts/up", env={**ports, "PARITY_ADMIN_PORT": value})
    assert result.returncode == 1
    assert "PARITY_ADMIN_PORT" in result.stderr
    assert containers() == ""


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
def test_one_port_for_two_things_is_refused(run: Run, ports: dict[str, str]) -> None:
    result = run("scripts/up", env={**ports, "PARITY_MODAL_PORT": ports["PARITY_R2_PORT"]})
    assert result.returncode == 1
    assert "PARITY_MODAL_PORT" in result.stderr
    assert containers() == ""


@pytest.mark.docker
@pytest.mark.usefixtures("engine", "own_image")
@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("deploy/fly.staging.toml", "internal_port = 8080", "internl_port = 8080", "http_service.internl_port"),
        ("parity.toml", "src/frontend", "src/nowhere", "app.frontend_dir"),
    ],
)
def test_a_wrong_configuration_is_told_before_anything_starts(
    run: Run, root: Path, tmp_path: Path, ports: dict[str, str], file: str, old: str, new: str, named: str
) -> None:
    checkout = tmp_path / "checkout"
    kept = shutil.ignore_patterns(".git", ".venv", ".parity", "__pycache__", ".mypy_cache", ".hypothesis")
    shutil.copytree(root, checkout, ignore=kept)
    path = checkout / file
    path.write_text(path.read_text().replace(old, new))
    result = run("scripts/up", env=ports, cwd=checkout)
    assert result.returncode == 1
    assert named in result.stderr
    assert containers() == ""


def test_without_an_engine_the_stack_starts_as_processes_and_the_reason_is_told(
    run: Run, tmp_path: Path, virtual_environment: Path
) -> None:
    nowhere = f"unix://{tmp_path}/docker.sock"
    result = run("scripts/up", env={"DOCKER_HOST": nowhere, "VENV": str(virtual_environment)})
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "called").read_text() == "up --driver process\n"
    assert nowhere in result.stdout


def test_a_machine_without_python_3_11_is_told_what_to_install(run: Run, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "env", "dirname", "realpath", "printf", "tr", "grep", "paste", "cat", "sha256sum"):
        found = shutil.which(tool)
        assert found
        (tools / tool).symlink_to(found)
    result = run("scripts/venv", tmp_path / "venv", env={"PATH": str(tools)})
    assert result.returncode == 1
    assert "Python 3.11 is not on PATH" in result.stderr
    assert "apt-get install" in result.stderr


def test_a_ca_file_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    script = "set -euo pipefail; . scripts/lib.sh; provide_build_ca"
    result = run("bash", "-c", script, env={"PARITY_CA_FILE": str(tmp_path / "none.pem")})
    assert result.returncode == 1
    assert f"PARITY_CA_FILE={tmp_path}/none.pem cannot be read" in result.stderr


def test_the_ports_that_must_be_free_are_those_that_compose_publishes(run: Run, root: Path) -> None:
    shown = run("bash", "-c", '. scripts/lib.sh; for pair in $PORTS; do echo "$pair"; done')
    published = re.findall(
        r"- 127\.0\.0\.1:\$\{(PARITY_\w+):-(?:\$\{\w+:\+\w+\})?(\d+)\}", (root / "compose.yaml").read_text()
    )
    assert sorted(shown.stdout.split()) == sorted(f"{name}={port}" for name, port in published)


@pytest.mark.parametrize(("arguments", "named"), [(["--timeout", "soon"], "--timeout soon"), (["--quick"], "--quick")])
def test_an_argument_that_cannot_be_used_is_named(run: Run, arguments: list[str], named: str) -> None:
    result = run("scripts/up", *arguments)
    assert result.returncode == 1
    assert named in result.stderr
    assert "scripts/up" in result.stderr


@pytest.mark.parametrize(
    ("verb", "code", "told"),
    [
        ("down", 1, "containers of this checkout may still be running"),
        ("status", 1, "no stack runs here"),
        ("urls", 1, "no stack runs here"),
        ("logs", 1, "no stack runs here"),
        ("check", 1, "no stack runs here"),
    ],
)
def test_where_no_stack_runs_each_verb_says_so_and_needs_nothing_for_it(
    run: Run, tmp_path: Path, verb: str, code: int, told: str
) -> None:
    nothing = {
        "DOCKER_HOST": f"unix://{tmp_path}/docker.sock",
        "PARITY_STATE_DIR": str(tmp_path),
        "VENV": str(tmp_path / "venv"),
    }
    result = run("scripts/stack", verb, env=nothing)
    assert result.returncode == code
    assert told in result.stdout + result.stderr
    assert not (tmp_path / "venv").exists()
