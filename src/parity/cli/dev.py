"""``parity dev``: the stack, with the app's sources served from the working tree."""

from __future__ import annotations

import os
from typing import Any

import click

from parity.cli.look import logs
from parity.cli.stack import up
from parity.stack.admin_client import ask
from parity.stack.dev import dev_lines, enter_dev
from parity.stack.errors import NotRunning, StackError
from parity.stack.ports import owner_of, require_free
from parity.stack.target import containers_of, local_project, require_own_stack


@click.command()
@click.option(
    "--driver",
    type=click.Choice(["docker", "process"]),
    help="How Machines run if the stack is not running yet, as for `parity up`.",
)
@click.option("-d", "--detach", is_flag=True, help="Return once the stack is healthy, without following the logs.")
@click.option("--debug", is_flag=True, help="Allow a debugger to attach to the Machine and to the GPU functions.")
@click.pass_context
def dev(context: click.Context, driver: str | None, detach: bool, debug: bool) -> None:
    """Serve the app from the working tree, and restart it with the new code after every edit.

    `parity up` goes back to the image.
    """
    try:
        shown = _enter(debug=debug)
    except NotRunning:
        context.invoke(up, driver=driver, timeout=None)
        shown = _enter(debug=debug)
    for line in dev_lines(shown):
        click.echo(line)
    if detach:
        return
    click.echo("The logs follow. Ctrl-C leaves the stack as it is: Machines go on running the working tree.")
    context.invoke(logs, name=None, follow=True, count=0)


def _enter(*, debug: bool) -> dict[str, Any]:
    """Raises ``NotRunning`` where no stack of this checkout runs."""
    project = require_own_stack(os.environ)
    _, driver = local_project(os.environ)
    settings = project.settings
    if debug and driver == "docker":
        stack = containers_of(project, os.environ)
        held = stack.held_ports()
        wanted = {name: port for name, port in settings.debug_ports().items() if held.get(port) != ""}
        require_free("127.0.0.1", wanted, lambda port: held.get(port) or owner_of(port), held)
        if stack.publish_debug_ports():
            raise StackError("the debuggers' ports cannot be published", "Compose's lines above say why")
    before = ask(settings.admin_url, "GET", "/fly/dev")
    shown = enter_dev(settings.admin_url, debug=debug)
    if driver == "docker" and before.get("debug") and not debug:
        containers_of(project, os.environ).withdraw_debug_ports()
    if debug:
        click.echo(
            f"debuggers: localhost:{settings.debug_port} Machine, localhost:{settings.gpu_debug_port} GPU functions"
        )
    return shown
