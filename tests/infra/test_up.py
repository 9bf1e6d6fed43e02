"""``make up`` when something is wrong: it says what, where and what to do, and leaves nothing behind.

Each test runs in the virtual environment and, as on a machine that has nothing but Docker, in the harness image.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.infra.conftest import Run
from tests.ports import free_ports

PROJECT = f"parity-infra-{os.getpid()}"
docker = [pytest.mark.docker, pytest.mark.usefixtures("engine")]


def containers() -> str:
    label = f"label=com.docker.compose.project={PROJECT}"
    return subprocess.run(["docker", "ps", "-aq", "--filter", label], capture_output=True, text=True, check=True).stdout


@pytest.fixture(params=["virtual environment", "harness image"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Ports and a project of the test's own, and where ``parity`` runs."""
    names = ("API", "API_HTTP", "FRONTEND", "FRONTEND_TLS", "R2", "MODAL", "MODAL_BLOB", "ADMIN")
    chosen = {f"PARITY_{name}_PORT": str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    environment = sys.prefix if request.param == "virtual environment" else str(tmp_path / "none")
    return {**chosen, "COMPOSE_PROJECT_NAME": PROJECT, "VENV": environment}


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


class TestNothingIsStarted:
    pytestmark = docker

    def test_a_taken_port_is_named_with_its_holder_and_the_setting_that_moves_it(
        self, run: Run, settings: dict[str, str], taken: int
    ) -> None:
        result = run("scripts/stack", "up", env={**settings, "PARITY_R2_PORT": str(taken)})
        assert result.returncode == 1
        assert f"port {taken} (PARITY_R2_PORT) is taken by pid {os.getpid()}" in result.stderr
        assert "PARITY_PORT_OFFSET" in result.stderr
        assert containers() == ""

    @pytest.mark.parametrize("value", ["http", "0", "70000"])
    def test_a_port_that_is_none_is_refused(self, run: Run, settings: dict[str, str], value: str) -> None:
        result = run("scripts/stack", "up", env={**settings, "PARITY_ADMIN_PORT": value})
        assert result.returncode == 2
        assert "PARITY_ADMIN_PORT" in result.stderr
        assert containers() == ""

    def test_one_port_for_two_things_is_refused(self, run: Run, settings: dict[str, str]) -> None:
        result = run("scripts/stack", "up", env={**settings, "PARITY_MODAL_PORT": settings["PARITY_R2_PORT"]})
        assert result.returncode == 1
        assert "PARITY_MODAL_PORT" in result.stderr
        assert containers() == ""

    def test_a_misspelt_setting_is_refused_with_the_nearest(self, run: Run, settings: dict[str, str]) -> None:
        result = run("scripts/stack", "up", env={**settings, "PARITY_API_PROT": "9"})
        assert result.returncode == 2
        assert "did you mean PARITY_API_PORT?" in result.stderr
        assert containers() == ""

    def test_a_ca_file_that_is_not_there_is_named(self, run: Run, settings: dict[str, str], tmp_path: Path) -> None:
        result = run("scripts/stack", "up", env={**settings, "PARITY_CA_FILE": str(tmp_path / "none.pem")})
        assert result.returncode == 1
        assert f"PARITY_CA_FILE={tmp_path}/none.pem cannot be read" in result.stderr
        assert containers() == ""

    def test_an_argument_that_cannot_be_used_is_named(self, run: Run, settings: dict[str, str]) -> None:
        result = run("scripts/stack", "up", "--timeout", "soon", env=settings)
        assert result.returncode == 2
        assert "soon" in result.stderr


@pytest.mark.docker
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("deploy/fly.staging.toml", "internal_port = 8080", "internl_port = 8080", "http_service.internl_port"),
        ("parity.toml", "src/frontend", "src/nowhere", "app.frontend_dir"),
    ],
)
def test_a_wrong_configuration_is_told_before_anything_starts(
    run: Run, checkout: Path, settings: dict[str, str], file: str, old: str, new: str, named: str
) -> None:
    path = checkout / file
    path.write_text(path.read_text().replace(old, new))
    result = run("scripts/stack", "up", env=settings, cwd=checkout)
    assert result.returncode == 2
    assert named in result.stderr
    assert containers() == ""


@pytest.fixture
def new_environment(tmp_path: Path, root: Path) -> Path:
    """A virtual environment that lacks ``parity``; installing it makes one that writes down how it was called."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    python, parity = folder / "bin/python", folder / "bin/parity"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *" -e ."*) printf \'#!/bin/sh\\necho "$@" > {tmp_path}/called\\n\' > {parity}; '
        f"chmod +x {parity} ;; esac\n"
    )
    python.chmod(0o755)
    files = ["dev.txt"] if shutil.which("ffmpeg") and shutil.which("ffprobe") else ["dev.txt", "ffmpeg.txt"]
    content = b"".join((root / "requirements" / name).read_bytes() for name in files)
    (folder / ".requirements").write_text(hashlib.sha256(content).hexdigest() + "  -\n")
    return folder


def test_without_an_engine_the_virtual_environment_is_made_and_the_reason_is_told(
    run: Run, tmp_path: Path, new_environment: Path
) -> None:
    nowhere = f"unix://{tmp_path}/docker.sock"
    result = run("scripts/stack", "up", env={"DOCKER_HOST": nowhere, "VENV": str(new_environment)})
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "called").read_text() == "up\n"
    assert "as processes" in result.stdout


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


@pytest.mark.parametrize("verb", ["down", "status", "urls", "logs", "run-checks"])
def test_with_neither_engine_nor_environment_each_verb_says_so_and_makes_nothing(
    run: Run, tmp_path: Path, verb: str
) -> None:
    nothing = {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock", "VENV": str(tmp_path / "venv")}
    result = run("scripts/stack", verb, env=nothing)
    assert result.returncode == 1
    assert "no stack can be seen" in result.stderr
    assert "containers of this checkout may still be running" in result.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        ("down", "containers of this checkout may still be running"),
        ("status", "no stack can be seen"),
        ("urls", "no stack of this checkout is running"),
        ("logs", "no stack of this checkout is running"),
        ("run-checks", "no stack of this checkout is running"),
    ],
)
def test_without_an_engine_each_verb_says_that_no_stack_can_be_seen(
    run: Run, tmp_path: Path, verb: str, told: str
) -> None:
    nothing = {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock", "PARITY_STATE_DIR": str(tmp_path), "VENV": sys.prefix}
    result = run("scripts/stack", verb, env=nothing)
    assert result.returncode == 1
    assert told in result.stderr
