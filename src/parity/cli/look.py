"""Commands that show a stack and change nothing: status, urls, env, logs."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from parity.config.flyctl import flyctl_environment
from parity.config.project import Project
from parity.stack import addresses
from parity.stack.admin_client import all_machines, ask
from parity.stack.dev import dev_lines
from parity.stack.errors import NotRunning, StackError
from parity.stack.follow import Line, follow_containers, follow_lines
from parity.stack.hands import LocalHands, hands
from parity.stack.plan import kinds
from parity.stack.state import read_state
from parity.stack.status import PartStatus, machine_state, process_status
from parity.stack.supervisor import tail
from parity.stack.target import Driver, Target, containers_of, local_project, require_own_stack


def show_urls(target: Target, project: Project) -> None:
    """Print the addresses, one a line, of the parts that the app has."""
    absent = {"frontend": not project.parity.app.frontend_origin, "modal": not project.parity.gpu}
    for key, value in addresses.urls(target).items():
        if not absent.get(key):
            click.echo(f"{key:<9} {value}")


def _parts(project: Project, driver: Driver, environ: Mapping[str, str]) -> list[PartStatus]:
    if driver == "process":
        state = read_state(project.settings.state_dir)
        return process_status(state) if state else []
    stack = containers_of(project, environ)
    problem = stack.engine_problem()
    if problem:
        raise NotRunning(f"no stack can be seen: {problem}", "start Docker, or `parity up` for a stack of processes")
    return stack.parts() if stack.exist() else []


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show the health of each part and each Machine. Exit code 1 unless all parts are healthy."""
    project, driver = local_project(os.environ)
    parts = _parts(project, driver, os.environ)
    whole = bool(parts) and all(part.state in ("healthy", "running") for part in parts)
    machines: list[dict[str, object]] = []
    dev: dict[str, Any] = {"on": False}
    if parts:
        try:
            machines = all_machines(project.settings.admin_url)
            dev = ask(project.settings.admin_url, "GET", "/fly/dev")
        except StackError as error:
            click.echo(f"Machines: {error.problem}", err=True)
    if as_json:
        shown = [part.as_json() for part in parts]
        body = {"driver": driver, "healthy": whole, "parts": shown, "machines": machines, "dev": dev}
        click.echo(json.dumps(body, indent=2))
    elif not parts:
        click.echo("no stack is running; `parity up` starts one")
    else:
        for part in parts:
            click.echo(f"{part.name:<10} {part.state:<10} {part.detail}")
        for found in machines:
            over = "  with the working tree over it" if found.get("dev") else ""
            group = f"  group {found['group']}" if "group" in found else ""
            click.echo(f"Machine {found.get('id')}{group}  {machine_state(found)}  {found.get('image_ref', '')}{over}")
        for line in dev_lines(dev):
            click.echo(line)
    raise SystemExit(0 if whole else 1)


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object with the keys api, frontend, r2, modal, admin, ca."
)
def urls(as_json: bool) -> None:
    """Show the addresses of the stack."""
    require_own_stack(os.environ)
    target = Target.from_environment()
    if as_json:
        click.echo(json.dumps(addresses.urls(target), indent=2))
    else:
        show_urls(target, Project.load(os.environ))


@click.command()
@click.option(
    "--fly", is_flag=True, help="Print the exports that point flyctl at the Fly stand-in's API and registry instead."
)
def env(fly: bool) -> None:
    """Print shell exports that point the aws CLI, boto3 and modal at the stack.

    Use it as: eval "$(parity env)"
    """
    project = require_own_stack(os.environ)
    target = Target.from_environment()
    if fly:
        click.echo(addresses.shell_exports(flyctl_environment(project.settings.admin_url)), nl=False)
        return
    resolves = _resolves(urlsplit(target.r2_url).hostname or "")
    click.echo(addresses.shell_exports(addresses.tool_environment(project, target, r2_resolves=resolves)), nl=False)


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror:
        return False
    return True


@click.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until Ctrl-C.")
@click.option(
    "--tail",
    "count",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="How many of the last lines of each part.",
)
def logs(name: str | None, follow: bool, count: int) -> None:
    """Show the last log lines of the part NAME, or of all parts.

    With -f, the lines of the Machines are shown too. For a Machine's lines alone, use `parity machine logs`.
    """
    project, driver = local_project(os.environ)
    if driver == "docker":
        require_own_stack(os.environ)
        stack = containers_of(project, os.environ)
        if not follow or name or not isinstance(hands(), LocalHands):
            raise SystemExit(stack.show_logs(name, follow=follow, tail=count))
        _echo_all(
            follow_containers(
                stack.follow_parts([kind.name for kind in kinds(project)], count),
                lambda machine, since: ["docker", "logs", "-f", f"--since={since}", stack.machine_container(machine)],
                lambda: _running_machines(project),
            )
        )
        return
    names = [kind.name for kind in kinds(project)]
    if name is not None and name not in names:
        raise click.BadParameter(f"{name!r}: expected one of {', '.join(names)}", param_hint="NAME")
    folder = project.settings.state_dir / "logs"
    chosen = {part: folder / f"{part}.log" for part in ([name] if name else names)}
    if not any(path.exists() for path in chosen.values()):
        raise NotRunning(f"there is no log in {folder}", "start the stack: `parity up`")
    _echo_all(_shown(chosen, count, follow=follow, machines={} if name else _machine_files(folder)))


def _shown(files: Mapping[str, Path], count: int, *, follow: bool, machines: Mapping[str, Path]) -> Iterator[Line]:
    """The last lines of ``files``; with ``follow`` new ones of them, of ``machines`` and of those that come later."""
    followed = {**files, **machines}
    # Where to go on is noted first: a line that arrives in between is shown twice rather than never.
    begin = {name: path.stat().st_size if path.exists() else 0 for name, path in followed.items()}
    for name, path in files.items():
        yield from ((name, line) for line in tail(path, count))
    if follow:
        folder = next(iter(files.values())).parent
        yield from follow_lines(followed, begin, later=lambda: _machine_files(folder) if len(files) > 1 else {})


def _machine_files(folder: Path) -> dict[str, Path]:
    """The log of each Machine of the process stack, by its id."""
    return {path.stem.removeprefix("machine-"): path for path in folder.glob("machine-*.log")}


def _running_machines(project: Project) -> list[str]:
    """Ids of the Machines that have a container that runs; none where the stand-in does not answer."""
    try:
        found = all_machines(project.settings.admin_url)
    except StackError:
        return []
    return [str(one["id"]) for one in found if one.get("state") in ("started", "stopping", "suspended")]


COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")


def _echo_all(lines: Iterator[Line]) -> None:
    """Each line behind the name of its part or Machine, in that one's colour on a terminal."""
    colours: dict[str, str] = {}
    for name, line in lines:
        colour = colours.setdefault(name, COLOURS[len(colours) % len(COLOURS)])
        click.echo(f"{click.style(f'{name:<14}|', fg=colour)} {line}")
