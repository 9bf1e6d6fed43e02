"""``parity machine``: lists and controls the Machines of the Fly stand-in through its admin API."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote

import click

from parity.stack.admin_client import ask
from parity.stack.errors import StackError
from parity.stack.status import machine_state
from parity.stack.target import require_own_stack

ACTIONS = {
    "start": "Start a stopped Machine.",
    "stop": "Stop it as Fly does: the kill signal, then kill_timeout.",
    "suspend": "Freeze it.",
    "resume": "Go on after a suspend.",
    "kill": "End it at once, as a host failure would.",
    "destroy": "Remove it with its disk.",
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
    """The Machines that the Fly stand-in runs."""


@machine.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_machines(as_json: bool) -> None:
    """Show every Machine."""
    found = [*_admin("GET", "/fly/machines"), *_admin("GET", "/fly/groups")]
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
    """Start one more Machine of the release that runs."""
    click.echo(_admin("POST", "/fly/machines")["id"])


@machine.command()
@click.argument("machine_id", required=False)
@click.option("--tail", type=click.IntRange(min=0), default=200, show_default=True, help="Lines from the end.")
def logs(machine_id: str | None, tail: int) -> None:
    """Show a Machine's own lines; the only one's without an id."""
    path = f"/fly/machines/{quote(_one(machine_id), safe='')}/logs?tail={tail}"
    for line in _admin("GET", path)["lines"]:
        click.echo(line)


def _action(name: str, text: str) -> click.Command:
    @click.command(name, help=f"{text} The only Machine without an id.")
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
