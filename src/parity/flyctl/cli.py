"""The commands of the flyctl double, with the flags and output formats that promotions and their tests use.

Only the commands that read fly.toml import its reader: pydantic's start takes four times as long as a command without.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import click

from parity.config.errors import ConfigError
from parity.config.units import seconds
from parity.flyctl import apps, configuration, machines
from parity.flyctl.client import Client, FlyError
from parity.flyctl.shared import app_option


class Fly(click.Group):
    """Prints what went wrong after ``Error:`` and exits with 1, as flyctl does."""

    def invoke(self, ctx: click.Context) -> Any:
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            return super().invoke(ctx)
        except (FlyError, ConfigError) as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Turn SIGTERM into an exception, so that leases are released, as flyctl does."""
    raise KeyboardInterrupt


@click.group(cls=Fly)
def fly() -> None:
    """A double of flyctl for the Fly stand-in."""


@fly.command()
def version() -> None:
    click.echo("fly double of parity (flyctl v0.4.87)")


@fly.command("deploy")
@app_option
@click.option("--config", "-c", type=Path, required=True)
@click.option("--image", "-i", required=True)
@click.option("--strategy", default="")
@click.option("--ha", type=bool, default=True)
@click.option("--deploy-retries", default="auto")
@click.option("--dns-checks", type=bool, default=True)
@click.option("--wait-timeout", default="")
def deploy_command(
    app: str,
    config: Path,
    image: str,
    strategy: str,
    ha: bool,
    deploy_retries: str,  # noqa: ARG001 - flyctl's flag
    dns_checks: bool,  # noqa: ARG001 - flyctl's flag
    wait_timeout: str,
) -> None:
    """Deploy an image that the registry holds."""
    from parity.config.fly_toml import load_fly_config
    from parity.config.toml_file import read_toml
    from parity.flyctl.deploying import Plan, deploy, find_image

    client = Client(app)
    parsed = load_fly_config(config, as_flyctl=True)
    click.echo("==> Verifying app config\n--> Verified app config\n==> Building image", err=True)
    click.echo(f"Searching for image '{image}' remotely...", err=True)
    reference = find_image(client, image)
    timeout = seconds(wait_timeout) if wait_timeout else parsed.deploy.wait_timeout_s
    chosen = strategy or parsed.deploy.strategy
    plan = Plan(parsed, read_toml(config), reference, chosen, timeout, ha, Path.cwd())
    release = deploy(client, plan, click.echo)
    if os.environ.get("FLY_EMIT_RELEASE_JSON") == "1":
        click.echo(json.dumps({"id": release["id"], "version": release["version"], "image_ref": reference}))
    click.echo(f"\nVisit your newly deployed app at https://{app}.fly.dev/")


for command in (
    apps.auth,
    apps.apps,
    apps.releases,
    apps.status,
    apps.checks_group,
    apps.logs,
    configuration.config_group,
    configuration.secrets_group,
    machines.machine_group,
    machines.scale_group,
):
    fly.add_command(command)
