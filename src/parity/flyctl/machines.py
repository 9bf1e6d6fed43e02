"""Commands about Machines and their number."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import click

from parity.flyctl.client import LEASE_S, Client, FlyError, group_of
from parity.flyctl.shared import RELEASES_QUERY, app_option, config_of, definition_of, json_option, print_rows

COMMAND_LEASE_S = 120


@click.group("machine")
def machine_group() -> None:
    """Machines."""


@machine_group.command("list")
@app_option
@json_option
def machine_list(app: str, as_json: bool) -> None:
    print_rows(Client(app).flaps("GET", "/machines"), as_json, "id", "state", "region")


@machine_group.command("status")
@click.argument("name")
@app_option
def machine_status(name: str, app: str) -> None:
    shown = Client(app).machine(name)
    click.echo(f"Machine ID: {shown['id']}\nState: {shown['state']}\nImage = {shown['config']['image']}")
    for one in shown["events"]:
        click.echo(f"{one['status']}\t{one['type']}\t{one['source']}")


def _leased(name: str, app: str, act: Callable[[Client, str], object]) -> None:
    client = Client(app)
    client.machine(name)
    with client.lease(name, COMMAND_LEASE_S) as nonce:
        act(client, nonce)


@machine_group.command("start")
@click.argument("name")
@app_option
def machine_start(name: str, app: str) -> None:
    _leased(name, app, lambda client, nonce: client.machine(name, "POST", "/start", nonce=nonce))
    click.echo(f"{name} has been started")


@machine_group.command("stop")
@click.argument("name")
@app_option
def machine_stop(name: str, app: str) -> None:
    body = {"id": name, "timeout": "0s"}
    _leased(name, app, lambda client, nonce: client.machine(name, "POST", "/stop", body, nonce))
    click.echo(f"{name} has been successfully stopped")


@machine_group.command("destroy")
@click.argument("name")
@click.option("--force", "-f", is_flag=True)
@app_option
def machine_destroy(name: str, force: bool, app: str) -> None:
    client = Client(app)
    client.machine(name)
    client.machine(name, "DELETE", f"?kill={str(force).lower()}")
    click.echo(f"{name} has been destroyed")


@click.group("scale")
def scale_group() -> None:
    """The number of Machines."""


@scale_group.command("count")
@click.argument("count", type=int)
@app_option
@click.option("--yes", "-y", is_flag=True)
def scale_count(count: int, app: str, yes: bool) -> None:  # noqa: ARG001 - flyctl's flag
    """Set the number of Machines of the group that serves HTTP, by cloning or destroying (count_machines.go)."""
    client = Client(app)
    group = config_of(definition_of(client)).group
    machines = [one for one in client.machines() if group_of(one) == group]
    newest = client.query(RELEASES_QUERY, appName=app, limit=1, status="complete")["app"]["releases"]["nodes"]
    if not newest:
        raise FlyError("this app has no complete releases. Run `fly deploy` to create one and rerun this command")
    client.flaps("GET", "/volumes")
    if not machines:
        raise FlyError("this double cannot scale an app from zero Machines; deploy the app first")
    if count == len(machines):
        click.echo("App already scaled to desired state. No need for changes")
        return
    with ExitStack() as leases:  # like flyctl, lease every Machine, also those that stay
        nonces = [leases.enter_context(client.lease(one["id"], LEASE_S)) for one in machines]
        for _ in range(count - len(machines)):
            made = client.flaps("POST", "/machines", {"config": machines[0]["config"], "region": machines[0]["region"]})
            click.echo(f"  Created {made['id']} group:{group} region:{made['region']}")
        for one, nonce in list(zip(machines, nonces, strict=True))[: max(0, len(machines) - count)]:
            client.machine(one["id"], "DELETE", "?kill=true", nonce=nonce)
            click.echo(f"  Destroyed {one['id']} group:{group} region:{one['region']}")
