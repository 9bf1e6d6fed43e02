"""The commands of the container stack: building them is pure, ``run`` is the one place that runs one."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from parity.config.settings import HarnessSettings
from parity.stack.errors import StackError
from parity.stack.ownership import OtherCheckout, list_folders, other_folder, own_names

FILE = "compose.yaml"
_ENGINE_TIMEOUT_S = 10.0
_SOCKET = Path("/var/run/docker.sock")


def compose(root: Path, *words: str) -> list[str]:
    """``docker compose`` on this checkout's file, whatever the current directory is."""
    return ["docker", "compose", "--project-directory", str(root), "-f", str(root / FILE), *words]


def up(root: Path, timeout_s: float) -> list[str]:
    """Build, start, and return when every service is healthy: the script that needs nothing but Docker does it."""
    return [str(root / "scripts/up"), "--timeout", str(math.ceil(timeout_s))]


def down(root: Path, *, volumes: bool = False) -> list[str]:
    """Stop and remove; ``volumes`` also forgets what R2, Modal and the CA hold."""
    return compose(root, "--profile", "*", "down", "--remove-orphans", *(["--volumes"] if volumes else []))


def logs(root: Path, service: str | None, *, follow: bool, tail: int | None = None) -> list[str]:
    options = [*(["--follow"] if follow else []), *([f"--tail={tail}"] if tail is not None else [])]
    return compose(root, "logs", *options, *([service] if service else []))


def ps(root: Path) -> list[str]:
    """One JSON object a line for each container, stopped ones too."""
    return compose(root, "ps", "--all", "--format", "json")


def copy_ca(root: Path, to: Path) -> list[str]:
    """Fetch ``ca.pem`` from the trust volume as the frontend sees it."""
    return compose(root, "cp", "frontend:/trust/ca.pem", str(to))


def environment(settings: HarnessSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` for ``docker compose``: with the project and every port of the settings, offset included."""
    return {**environ, **own_names(settings.compose_project_name, settings.published_ports())}


def has_containers(settings: HarnessSettings, environ: Mapping[str, str]) -> bool:
    """Whether containers of this checkout exist, stopped ones too.

    Raises ``OtherCheckout`` when the project's containers were started from another folder.
    """
    project = settings.compose_project_name
    folders = output(list_folders(project), environ).splitlines()
    folder = other_folder(folders, settings.root)
    if folder:
        raise OtherCheckout(project, folder, settings.root)
    return bool(folders)


def engine_may_exist(environ: Mapping[str, str]) -> bool:
    """Whether an engine may run here although none answers: a command, an address or a socket says so."""
    return bool(shutil.which("docker", path=environ.get("PATH")) or environ.get("DOCKER_HOST") or _SOCKET.exists())


def engine_problem(environ: Mapping[str, str]) -> str:
    """Why no Docker engine can be used; empty when one answers. The CLI honours ``DOCKER_HOST`` and contexts."""
    commands = (["docker", "version", "--format", "{{.Server.Version}}"], ["docker", "compose", "version", "--short"])
    for command in commands:
        try:
            done = subprocess.run(
                command, env=dict(environ), capture_output=True, text=True, timeout=_ENGINE_TIMEOUT_S, check=False
            )
        except FileNotFoundError:
            return "there is no docker command"
        except subprocess.TimeoutExpired:
            return f"`{' '.join(command)}` did not answer within {_ENGINE_TIMEOUT_S:.0f} s"
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            return lines[-1] if lines else f"`{' '.join(command)}` ended with {done.returncode}"
    return ""


def run(command: Sequence[str], environ: Mapping[str, str]) -> None:
    """Run a command with the terminal's input and output. Raises ``StackError`` when it fails."""
    code = call(command, environ)
    if code != 0:
        raise StackError(
            f"`{' '.join(command)}` ended with {code}",
            "its own lines above say why; `parity logs` shows the services', `parity down` cleans up",
        )


def call(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command with the terminal's input and output; returns its exit code."""
    try:
        return subprocess.run(command, env=dict(environ), check=False).returncode
    except FileNotFoundError:
        raise StackError(f"there is no {command[0]} command", "install Docker, or use `--driver process`") from None


def output(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """What a command prints. Raises ``StackError`` with its error lines when it fails."""
    try:
        done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise StackError(f"there is no {command[0]} command", "install Docker, or use `--driver process`") from None
    if done.returncode != 0:
        raise StackError(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
