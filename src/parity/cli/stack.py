"""``parity up`` and ``parity down``."""

from __future__ import annotations

import os

import click

from parity.cli.look import show_urls
from parity.config.project import Project
from parity.stack import compose, lifecycle
from parity.stack.errors import StackError
from parity.stack.ownership import OtherCheckout
from parity.stack.target import Target, running_process_stack, with_driver

_START_S = 120.0
# The first one builds the images.
_CONTAINERS_S = 900.0


@click.command()
@click.option("--driver", type=click.Choice(["docker", "process"]), help="Default: docker where an engine answers.")
@click.option(
    "--timeout", type=click.FloatRange(min=1), help="Seconds until all must be healthy; 120, with Docker 900."
)
def up(driver: str | None, timeout: float | None) -> None:
    """Start the whole stack and leave it running."""
    environ = dict(os.environ)
    chosen = driver or environ.get("PARITY_DRIVER") or _choose(environ)
    if chosen == "docker":
        _containers(environ, timeout or _CONTAINERS_S)
    else:
        _processes(environ, timeout or _START_S)


def _choose(environ: dict[str, str]) -> str:
    problem = compose.engine_problem(environ)
    if not problem:
        return "docker"
    click.echo(f"no Docker engine ({problem}): using processes")
    return "process"


def _processes(environ: dict[str, str], timeout_s: float) -> None:
    project = Project.load(with_driver(environ, "process"))
    click.echo(lifecycle.NOT_PROVED)
    if not lifecycle.up(project, environ, timeout_s, click.echo):
        click.echo("the stack is already running")
    _foreign_origin(project)
    show_urls(Target.local(project, "process"))


def _containers(environ: dict[str, str], timeout_s: float) -> None:
    project = Project.load(with_driver(environ, "docker"))
    problem = compose.engine_problem(environ)
    if problem:
        raise StackError(
            f"no Docker engine can be used: {problem}",
            "start Docker (or set DOCKER_HOST), or use `parity up --driver process`",
        )
    if running_process_stack(project):
        raise StackError("the process stack of this checkout is running", "`parity down` first")
    compose.has_containers(project.settings, environ)
    compose.run(compose.up(project.settings.root, timeout_s), compose.environment(project.settings, environ))


def _foreign_origin(project: Project) -> None:
    """Say so when the page's address is one that neither the bucket nor the app lets a browser call from."""
    port = project.settings.frontend_port
    if port != 5173 and project.parity.app.frontend_origin:
        click.echo(
            f"note: http://localhost:{port} is no origin that the app and the bucket allow (they know "
            f"http://localhost:5173 and {project.parity.app.frontend_origin}); `parity browser` opens the latter"
        )


@click.command()
@click.option("--volumes", is_flag=True, help="With Docker: also forget what R2 and Modal hold, and the CA.")
def down(volumes: bool) -> None:
    """Stop the stack of this checkout: its processes, else its containers. Nothing of another checkout is touched."""
    environ = dict(os.environ)
    project = Project.load(environ)
    stopped = lifecycle.down(project)
    if stopped:
        click.echo(f"stopped {', '.join(stopped)}")
        return
    _containers_down(Project.load(with_driver(environ, "docker")), environ, volumes=volumes)


def _containers_down(project: Project, environ: dict[str, str], *, volumes: bool) -> None:
    problem = compose.engine_problem(environ)
    if problem:
        if compose.engine_may_exist(environ):
            raise StackError(
                f"no Docker engine can be reached ({problem}): containers of this checkout may still be running",
                "start Docker, or set DOCKER_HOST to the engine that runs them, and repeat",
            )
        click.echo("nothing was running")
        return
    try:
        ours = compose.has_containers(project.settings, environ)
    except OtherCheckout as other:
        click.echo(f"nothing of this checkout was running; project {other.project} is of {other.folder} and stays")
        return
    if ours:
        own = compose.environment(project.settings, environ)
        compose.run(compose.down(project.settings.root, volumes=volumes), own)
    elif volumes:
        raise StackError(
            "there is no container by which this checkout's volumes can be told from another's of the same name",
            f"`parity up` first, or look at `docker volume ls --filter name={project.settings.compose_project_name}`",
        )
    else:
        click.echo("nothing was running")
