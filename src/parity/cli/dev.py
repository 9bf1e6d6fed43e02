"""``parity dev``: the stack, with the app's sources served from the working tree."""

from __future__ import annotations

import os

import click

from parity.cli.look import logs
from parity.cli.stack import up
from parity.stack.dev import dev_lines, enter_dev
from parity.stack.errors import NotRunning
from parity.stack.target import require_own_stack


@click.command()
@click.option("--driver", type=click.Choice(["docker", "process"]), help="As for `parity up`, where no stack runs.")
@click.option("-d", "--detach", is_flag=True, help="Do not follow the logs.")
@click.pass_context
def dev(context: click.Context, driver: str | None, detach: bool) -> None:
    """Serve the app from the working tree: an edit is answered by the new code. `parity up` ends it."""
    try:
        project = require_own_stack(os.environ)
        shown = enter_dev(project.settings.admin_url)
    except NotRunning:
        context.invoke(up, driver=driver, timeout=None)
        project = require_own_stack(os.environ)
        shown = enter_dev(project.settings.admin_url)
    for line in dev_lines(shown):
        click.echo(line)
    if detach:
        return
    click.echo("The logs follow. Ctrl-C leaves the stack as it is: Machines go on running the working tree.")
    context.invoke(logs, name=None, follow=True, count=0)
