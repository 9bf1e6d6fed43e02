"""Commands about an app's configuration and secrets."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import click

from parity.flyctl.client import Client
from parity.flyctl.shared import APP_QUERY, app_option, config_of, definition_of, json_option, print_rows
from parity.flyctl.toml import toml_text

LATEST_QUERY = (
    "query LatestImage ($appName: String!) "
    "{ app(name: $appName) { id name version currentReleaseUnprocessed { id version imageRef } } }"
)

stage_option = click.option("--stage", is_flag=True)


@click.group("config")
def config_group() -> None:
    """The app's configuration."""


@config_group.command("validate")
@click.option("--strict", is_flag=True)
@click.option("--config", "-c", type=Path, required=True)
@app_option
def config_validate(strict: bool, config: Path, app: str) -> None:
    from parity.config.fly_toml import load_fly_config

    Client(app)
    load_fly_config(config, as_flyctl=not strict)
    click.echo(f"Validating {config}\n✓ Configuration is valid")


@config_group.command("save")
@click.option("--config", "-c", type=Path, required=True)
@click.option("--yes", "-y", is_flag=True)
@app_option
def config_save(config: Path, yes: bool, app: str) -> None:  # noqa: ARG001 - flyctl's flag
    definition = definition_of(Client(app))
    config.write_text(toml_text(definition), "utf-8")
    click.echo(f"Wrote config file {config}")


@click.group("secrets")
def secrets_group() -> None:
    """Secrets."""


@secrets_group.command("list")
@app_option
@json_option
def secrets_list(app: str, as_json: bool) -> None:
    client = Client(app)
    found = client.flaps("GET", "/secrets?version=1")["secrets"]
    machines = client.machines()
    released = 0.0
    if machines:
        releases = client.call("uiex", "GET", f"/api/v1/apps/{app}/releases?limit=20")["releases"]
        released = max((_moment(one["created_at"]) for one in releases), default=time.time())
    rows = [
        {
            "name": one["name"],
            "digest": one["digest"],
            "status": "Deployed" if machines and _moment(one.get("updated_at", "")) <= released else "Staged",
        }
        for one in found
    ]
    print_rows(rows, as_json, "name", "digest", "status")


def _moment(stamp: str) -> float:
    return time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")) if stamp else 0.0


@secrets_group.command("import")
@app_option
@stage_option
def secrets_import(app: str, stage: bool) -> None:
    """Set secrets from ``NAME=value`` lines on stdin. ``#`` begins a comment, except in double quotes."""
    values: dict[str, str | None] = {}
    for line in sys.stdin.read().splitlines():
        name, equals, value = line.partition("=")
        if not equals or name.lstrip().startswith("#"):
            continue
        quoted = value.strip().startswith('"')
        values[name.strip()] = shlex.split(value)[0] if quoted else value.partition("#")[0].strip()
    _change_secrets(app, values, stage)


@secrets_group.command("unset")
@click.argument("names", nargs=-1, required=True)
@app_option
@stage_option
def secrets_unset(names: tuple[str, ...], app: str, stage: bool) -> None:
    _change_secrets(app, dict.fromkeys(names), stage)


def _change_secrets(app: str, values: dict[str, str | None], stage: bool) -> None:
    """Change secrets. Unless they are only staged, deploy the running image again so that Machines get them."""
    client = Client(app)
    client.query(APP_QUERY, appName=app)
    client.flaps("POST", "/secrets", {"values": values})
    machines = client.machines()
    if stage or not machines:
        click.echo("Secrets have been staged, but not set on VMs. Deploy or update machines in this app for them.")
        return
    from parity.flyctl.deploying import Plan, deploy

    definition = definition_of(client)
    client.flaps("GET", "")
    latest = client.query(LATEST_QUERY, appName=app)["app"]["currentReleaseUnprocessed"]
    config = config_of(definition)
    # A deploy of secrets runs no release command.
    config = config.model_copy(update={"deploy": config.deploy.model_copy(update={"release_command": ""})})
    timeout = config.deploy.wait_timeout_s
    deploy(client, Plan(config, definition, latest["imageRef"], "rolling", timeout), click.echo)
