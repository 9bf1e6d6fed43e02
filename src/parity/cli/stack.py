"""``parity up``, ``parity down`` and ``parity run-checks``."""

from __future__ import annotations

import os
import socket

import click

from parity.cli.look import show_urls
from parity.cli.usable import require_containers
from parity.config.project import Project
from parity.config.settings import HarnessSettings
from parity.config.variables import help_text
from parity.stack import container_lifecycle, lifecycle
from parity.stack.errors import NotRunning, StackError
from parity.stack.target import (
    COMPOSE_R2_HOST,
    Target,
    containers_of,
    local_project,
    running_process_stack,
    with_driver,
)

_START_S = 120.0
# The first one builds the images.
_CONTAINERS_S = 900.0
INTERRUPTED = 130


@click.command(epilog=f"\b\nEnvironment variables (all: parity settings):\n{help_text(HarnessSettings)}")
@click.option(
    "--driver",
    type=click.Choice(["docker", "process"]),
    help="Run Machines as containers or as processes. Default: docker if a Docker engine answers.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    help="Seconds after which the start fails unless all parts are healthy. Default: 120, with Docker 900.",
)
def up(driver: str | None, timeout: float | None) -> None:
    """Start the whole stack, wait until it is healthy, and leave it running."""
    environ = dict(os.environ)
    chosen = driver or environ.get("PARITY_DRIVER") or _choose(environ)
    try:
        if chosen == "docker":
            _containers(environ, timeout or _CONTAINERS_S)
        else:
            _processes(environ, timeout or _START_S)
    except KeyboardInterrupt:
        click.echo("Error: up was interrupted; nothing that it had started is left running", err=True)
        raise SystemExit(INTERRUPTED) from None


def _choose(environ: dict[str, str]) -> str:
    """What runs already, so that `up` after `parity dev` finds it; else Docker where an engine answers."""
    if running_process_stack(Project.load(with_driver(environ, "process"))):
        return "process"
    problem = containers_of(Project.load(with_driver(environ, "docker")), environ).engine_problem()
    if not problem:
        return "docker"
    click.echo(f"no Docker engine ({problem}): using processes")
    return "process"


def _processes(environ: dict[str, str], timeout_s: float) -> None:
    project = Project.load(with_driver(environ, "process"))
    click.echo(lifecycle.NOT_PROVED)
    lifecycle.up(project, environ, timeout_s, click.echo)
    show_urls(Target.local(project, "process"), project)


def _containers(environ: dict[str, str], timeout_s: float) -> None:
    project = Project.load(with_driver(environ, "docker"))
    require_containers(project)
    stack = containers_of(project, environ)
    stack.require_engine()
    if running_process_stack(project):
        raise StackError("the process stack of this checkout is running", "`parity down` first")
    container_lifecycle.up(stack, timeout_s, click.echo)
    click.echo("\nEverything is healthy.")
    show_urls(Target.local(project, "docker"), project)
    if not _resolves(COMPOSE_R2_HOST):
        click.echo(
            f"This machine's resolver does not know {COMPOSE_R2_HOST}: browsers and curl do, other programs need "
            f"`echo '127.0.0.1 {COMPOSE_R2_HOST}' | sudo tee -a /etc/hosts`, or https://localhost:{project.settings.r2_port}"
        )


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror:
        return False
    return True


@click.command()
@click.option(
    "--volumes", is_flag=True, help="Also delete the data of R2, Modal and the services, and with Docker the CA."
)
def down(volumes: bool) -> None:
    """Stop the stack of this checkout. Stacks of other checkouts keep running."""
    environ = dict(os.environ)
    processes = Project.load(environ)
    stopped = lifecycle.down(processes)
    if stopped:
        click.echo(f"stopped {', '.join(stopped)}")
    if volumes and lifecycle.forget(processes.settings.state_dir):
        click.echo("forgot what R2, Modal and the services of the process stack held")
    if stopped:
        return
    containers = containers_of(Project.load(with_driver(environ, "docker")), environ)
    if environ.get("PARITY_DRIVER") == "process" and containers.engine_problem():
        click.echo("nothing was running")  # who chose processes needs no engine
        return
    container_lifecycle.down(containers, click.echo, volumes=volumes)


@click.command("run-checks", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.pass_context
def run_checks(context: click.Context) -> None:
    """Run `parity check` with the same arguments where the stack runs: in the checks container, or on this machine."""
    environ = dict(os.environ)
    project, driver = local_project(environ)
    if driver == "docker" and not environ.get("PARITY_API_URL"):
        stack = containers_of(project, environ)
        if stack.engine_problem() or not stack.exist():
            raise NotRunning("no stack of this checkout is running", "start the stack: `make up`")
        raise SystemExit(container_lifecycle.check(stack, context.args))
    from parity.checks.cli import check

    check.main(context.args, prog_name="parity check")
