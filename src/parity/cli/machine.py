"""``parity machine``: lists and controls the Machines of the Fly stand-in through its admin API."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote

import click

from parity.stack.admin_client import all_machines, ask
from parity.stack.errors import StackError
from parity.stack.status import machine_state
from parity.stack.target import require_own_stack

ACTIONS = {
    "start": "Start a stopped Machine.",
    "stop": "Stop a Machine as Fly does: send kill_signal, and kill it after kill_timeout.",
    "suspend": "Freeze a Machine, as autostop with suspend does.",
    "resume": "Let a suspended Machine continue.",
    "kill": "Kill a Machine without a signal first, as a host failure would.",
    "destroy": "Remove a Machine and its disk.",
}


def _admin(method: str, path: str, body: object = None) -> Any:
    project = require_own_stack(os.environ)
    return ask(project.settings.admin_url, method, path, body)


def _one(machine_id: str | None) -> str:
    """The given id, or the id of the only Machine."""
    if machine_id:
        return machine_id
    ids = [str(found["id"]) for found in _admin("GET", "/fly/machines")]
    if len(ids) == 1:
        return ids[0]
    raise StackError(
        f"{len(ids)} Machines are there: {', '.join(ids) or 'none'}", "name one, or `parity machine create`"
    )


@click.group()
def machine() -> None:
    """List and control the Machines of the Fly stand-in."""


@machine.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_machines(as_json: bool) -> None:
    """List the Machines with their state."""
    found = all_machines(require_own_stack(os.environ).settings.admin_url)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("there is no Machine")
    for one in found:
        serves = f"group {one['group']}" if "group" in one else f"{one.get('requests', 0)} request(s)"
        click.echo(f"{one['id']}  {machine_state(one)}  {serves}  {one.get('image_ref', '')}")


@machine.command()
def create() -> None:
    """Create and start one more Machine of the current release."""
    click.echo(_admin("POST", "/fly/machines")["id"])


@machine.command()
@click.argument("machine_id", required=False)
@click.option("--tail", type=click.IntRange(min=0), default=200, show_default=True, help="How many of the last lines.")
def logs(machine_id: str | None, tail: int) -> None:
    """Show the last log lines of a Machine. MACHINE_ID may be left out if there is only one Machine."""
    path = f"/fly/machines/{quote(_one(machine_id), safe='')}/logs?tail={tail}"
    for line in _admin("GET", path)["lines"]:
        click.echo(line)


def _action(name: str, text: str) -> click.Command:
    @click.command(name, help=f"{text} MACHINE_ID may be left out if there is only one Machine.")
    @click.argument("machine_id", required=False)
    def run(machine_id: str | None) -> None:
        wanted = _one(machine_id)
        answer = _admin("POST", f"/fly/machines/{quote(wanted, safe='')}/{name}")
        click.echo(f"{wanted}: {answer['state']}")
        if name == "destroy" and not _admin("GET", "/fly/machines"):
            click.echo("no Machine is left; `parity machine create` starts one")

    return run


for _name, _text in ACTIONS.items():
    machine.add_command(_action(_name, _text))
