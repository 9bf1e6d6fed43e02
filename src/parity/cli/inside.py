"""``parity shell`` opens a shell in a Machine; ``parity db`` opens a copy of one of the app's databases."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click

from parity.config.dev_table import filled
from parity.config.errors import ConfigError
from parity.config.project import Project
from parity.stack.admin_client import ask
from parity.stack.errors import RequirementMissing, StackError
from parity.stack.hands import LocalHands, hands
from parity.stack.target import containers_of, local_project, require_own_stack

SHELL = ["sh", "-c", "command -v bash >/dev/null && exec bash || exec sh"]
# As the process driver has them for a Machine (parity.fly.machines.process).
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TERM")


class Inside(Protocol):
    """Runs commands in a Machine. ``python`` is the Machine's interpreter."""

    @property
    def python(self) -> str: ...

    def run(self, command: Sequence[str]) -> int:
        """Run with this terminal; returns the exit code."""

    def fetched(self, command: list[str], target: Path) -> None:
        """Run a command with ``{file}`` filled in; what it wrote there is in ``target`` then. Raises ``StackError``."""


@dataclass(frozen=True)
class InContainer:
    """Through the engine."""

    container: str
    python: str = "python"

    def run(self, command: Sequence[str]) -> int:
        terminal = "-it" if sys.stdin.isatty() and sys.stdout.isatty() else "-i"
        return subprocess.run(["docker", "exec", terminal, self.container, *command], check=False).returncode

    def fetched(self, command: list[str], target: Path) -> None:
        file = f"/tmp/parity-{secrets.token_hex(6)}"
        try:
            _must(["docker", "exec", self.container, *filled(command, {"file": file})])
            _must(["docker", "cp", "--quiet", f"{self.container}:{file}", str(target)])
        finally:
            subprocess.run(["docker", "exec", self.container, "rm", "-f", file], capture_output=True, check=False)


@dataclass(frozen=True)
class InProcess:
    """With a Machine's environment, in its folder."""

    folder: Path
    environment: Mapping[str, str]
    python: str

    def run(self, command: Sequence[str]) -> int:
        return subprocess.run(command, cwd=self.folder, env=dict(self.environment), check=False).returncode

    def fetched(self, command: list[str], target: Path) -> None:
        _must(filled(command, {"file": str(target)}), cwd=self.folder, env=dict(self.environment))


def _must(command: Sequence[str], **options: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, **options)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip() or "it said nothing"
        raise StackError(f"`{' '.join(command)}` ended with {done.returncode}: {lines}")


def _inside(machine_id: str | None) -> Inside:
    """The named Machine, or else a running one. A sleeping Machine is started."""
    if not isinstance(hands(), LocalHands):
        raise RequirementMissing("this command needs the virtual environment", "`make venv`, then .venv/bin/parity …")
    project = require_own_stack(os.environ)
    _, driver = local_project(os.environ)
    machine = _awake(project, machine_id)
    if driver == "docker":
        return InContainer(containers_of(project, os.environ).machine_container(machine["id"]))
    python = str(project.python)
    own = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    own["PATH"] = os.pathsep.join([str(Path(python).parent), own.get("PATH", os.defpath)])
    root = project.settings.state_dir / "machines" / machine["id"]
    environment = {**own, "HOME": str(root / "home"), **machine["config"]["env"]}
    folder = root / project.machine_folder
    if machine["debug"]:  # it runs the checkout's own files
        folder = project.settings.root / project.process.directory
    return InProcess(folder, environment, python)


def _awake(project: Project, machine_id: str | None) -> dict[str, Any]:
    url = project.settings.admin_url
    machines: list[dict[str, Any]] = [*ask(url, "GET", "/fly/machines"), *ask(url, "GET", "/fly/groups")]
    ids = [str(one["id"]) for one in machines]
    if machine_id is not None and machine_id not in ids:
        raise StackError(f"there is no Machine {machine_id}", f"one of: {', '.join(ids) or 'none'}")
    chosen = [one for one in machines if machine_id in (None, one["id"])]
    if not chosen:
        raise StackError("there is no Machine", "`parity machine create` starts one")
    found = next((one for one in chosen if one["state"] == "started"), chosen[0])
    if found["state"] != "started":
        found = ask(url, "POST", f"/fly/machines/{found['id']}/start")
    return found


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--machine", "machine_id", help="Id of the Machine. Default: one that is running.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(machine_id: str | None, command: tuple[str, ...]) -> None:
    """Open a shell in a Machine, or run COMMAND in it, with the Machine's environment."""
    raise SystemExit(_inside(machine_id).run(command or SHELL))


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write the copy to this file instead of opening it."
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def db(output: Path | None, arguments: tuple[str, ...]) -> None:
    """Open a read-only copy of one of the app's databases in sqlite3.

    Which ARGUMENTS name a database is defined by [dev] database of parity.toml. Further ones are passed to sqlite3.

    Example: parity db ada saturday "SELECT * FROM games"
    """
    project, _ = local_project(os.environ)
    table = project.parity.dev
    if not table.database:
        raise ConfigError(
            "parity.toml: dev.database",
            "nothing says how a copy of a database is made",
            'database = ["{python}", "-m", "app.dump", "{tenant}", "{file}"]',
        )
    names, rest = table.arguments, arguments[len(table.arguments) :]
    if len(arguments) < len(names):
        raise click.UsageError(f"the app's databases are named by: {' '.join(name.upper() for name in names)}")
    sqlite = shutil.which("sqlite3")
    if output is None and sqlite is None:
        raise RequirementMissing("no sqlite3 is on PATH", "install it, or give --output FILE")
    if output is not None and output.exists():
        raise click.UsageError(f"{output} exists already")
    inside = _inside(None)
    words = filled(table.database, {"python": inside.python, **dict(zip(names, arguments, strict=False))})
    folder = project.settings.state_dir / "db"
    folder.mkdir(parents=True, exist_ok=True)
    copy = output or folder / f"{secrets.token_hex(4)}.sqlite"
    try:
        inside.fetched(words, copy)
        copy.chmod(0o444)
        if output is not None:
            click.echo(f"{copy}: a copy of now")
            return
        assert sqlite is not None
        raise SystemExit(subprocess.run([sqlite, "-readonly", str(copy), *rest], check=False).returncode)
    finally:
        if output is None:
            copy.unlink(missing_ok=True)
