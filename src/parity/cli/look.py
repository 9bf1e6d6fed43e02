"""Commands that look at a stack: status, urls, env, logs."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import click

from parity.config.project import Project
from parity.stack import addresses, compose
from parity.stack.admin_client import ask
from parity.stack.errors import NotRunning, StackError
from parity.stack.follow import follow_lines
from parity.stack.plan import kinds
from parity.stack.state import read_state
from parity.stack.status import PartStatus, compose_status, process_status
from parity.stack.supervisor import tail
from parity.stack.target import Driver, Target, local_project


def show_urls(target: Target) -> None:
    """Print the addresses, one a line."""
    for key, value in addresses.urls(target).items():
        click.echo(f"{key:<9} {value}")


def fetch_ca(project: Project, environ: Mapping[str, str]) -> None:
    """Copy the containers' ``ca.pem`` to where people and tools on this machine find it."""
    ca = project.settings.trust_dir / "ca.pem"
    ca.parent.mkdir(parents=True, exist_ok=True)
    compose.output(compose.copy_ca(project.settings.root, ca), compose.environment(project.settings, environ))


def _parts(project: Project, driver: Driver, environ: Mapping[str, str]) -> list[PartStatus]:
    if driver == "process":
        state = read_state(project.settings.state_dir)
        return process_status(state) if state else []
    if compose.engine_problem(environ) or not compose.has_containers(project.settings, environ):
        return []
    own = compose.environment(project.settings, environ)
    return compose_status(compose.output(compose.ps(project.settings.root), own))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(as_json: bool) -> None:
    """Show each part and each Machine; exit code 1 unless all parts are healthy."""
    project, driver = local_project(os.environ)
    parts = _parts(project, driver, os.environ)
    # A stopped Machine shows as its own line; Machines started by the fly stand-in carry compose's labels too.
    services = [part for part in parts if part.name != "api"]
    whole = bool(services) and all(part.state == "healthy" or part.state == "running" for part in services)
    machines: list[dict[str, object]] = []
    if services:
        try:
            machines = ask(project.settings.admin_url, "GET", "/fly/machines")
        except StackError as error:
            click.echo(f"Machines: {error.problem}", err=True)
    if as_json:
        body = {"driver": driver, "healthy": whole, "parts": [p.as_json() for p in services], "machines": machines}
        click.echo(json.dumps(body, indent=2))
    elif not services:
        click.echo("no stack is running; `parity up` starts one")
    else:
        for part in services:
            click.echo(f"{part.name:<10} {part.state:<10} {part.detail}")
        for found in machines:
            healthy = "healthy" if found.get("healthy") else "not healthy"
            click.echo(f"Machine {found.get('id')}  {found.get('state')}  {healthy}  {found.get('image_ref', '')}")
    raise SystemExit(0 if whole else 1)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One object with the keys api, frontend, r2, modal, admin, ca.")
def urls(as_json: bool) -> None:
    """Show where the stack is reached."""
    project, driver = local_project(os.environ)
    if driver == "docker" and not compose.engine_problem(os.environ):
        compose.has_containers(project.settings, os.environ)
    target = Target.from_environment()
    if as_json:
        click.echo(json.dumps(addresses.urls(target), indent=2))
    else:
        show_urls(target)


@click.command()
def env() -> None:
    """Print shell exports that point the aws CLI, boto3 and modal at the stack: eval "$(parity env)"."""
    project, driver = local_project(os.environ)
    target = Target.from_environment()
    if driver == "docker" and not compose.engine_problem(os.environ):
        compose.has_containers(project.settings, os.environ)
        fetch_ca(project, os.environ)
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
@click.option("-f", "--follow", is_flag=True, help="Go on as lines arrive, until Ctrl-C.")
@click.option("--tail", "count", type=click.IntRange(min=0), default=200, show_default=True, help="Lines of each part.")
def logs(name: str | None, follow: bool, count: int) -> None:
    """Show the lines of one part, or of all; a Machine's own are `parity machine logs`."""
    project, driver = local_project(os.environ)
    if driver == "docker":
        if not compose.has_containers(project.settings, os.environ):
            raise NotRunning("no stack of this checkout is running", "start the stack: `parity up`")
        own = compose.environment(project.settings, os.environ)
        raise SystemExit(compose.call(compose.logs(project.settings.root, name, follow=follow, tail=count), own))
    names = [kind.name for kind in kinds(project)]
    if name is not None and name not in names:
        raise click.BadParameter(f"{name!r}: expected one of {', '.join(names)}", param_hint="NAME")
    folder = project.settings.state_dir / "logs"
    chosen = {part: folder / f"{part}.log" for part in ([name] if name else names)}
    if not any(path.exists() for path in chosen.values()):
        raise NotRunning(f"there is no log in {folder}", "start the stack: `parity up`")
    for line in _shown(chosen, count, follow=follow):
        click.echo(line)


def _shown(files: Mapping[str, Path], count: int, *, follow: bool) -> Iterator[str]:
    # Where to go on is noted first: a line that arrives in between is shown twice rather than never.
    begin = {name: path.stat().st_size if path.exists() else 0 for name, path in files.items()}
    for name, path in files.items():
        yield from (f"{name:<9}| {line}" for line in tail(path, count))
    if follow:
        yield from follow_lines(files, begin)
