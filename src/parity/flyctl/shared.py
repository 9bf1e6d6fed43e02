"""Options, queries and functions that several commands of the flyctl double share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parity.flyctl.client import Client, FlyError
from parity.flyctl.toml import toml_text

if TYPE_CHECKING:
    from parity.config.fly_toml import FlyConfig

RELEASES_QUERY = (
    "query ($appName: String!, $limit: Int!) { app(name: $appName) { releases: releasesUnprocessed(first: $limit) "
    "{ nodes { id version description reason status imageRef stable user { id email name } createdAt } } } }"
)
CONFIG_QUERY = (
    "query FlyctlConfigCurrentRelease ($appName: String!) "
    "{ app(name: $appName) { currentReleaseUnprocessed { configDefinition } } }"
)
APP_QUERY = (
    "query($appName: String!) { appcompact:app(name: $appName) "
    "{ id name hostname deployed status appUrl platformVersion organization { id slug name } } }"
)

app_option = click.option("--app", "-a", required=True)
json_option = click.option("--json", "as_json", is_flag=True)


def definition_of(client: Client) -> dict[str, Any]:
    """The configuration of the newest release, which flyctl reads before it changes Machines."""
    release = client.query(CONFIG_QUERY, appName=client.app)["app"]["currentReleaseUnprocessed"]
    if not release or not release["configDefinition"]:
        raise FlyError(f"{client.app} has no release to read the configuration from; deploy it first")
    return {**release["configDefinition"], "app": client.app}


def config_of(definition: dict[str, Any]) -> FlyConfig:
    """The configuration of a release as flyctl reads it from fly.toml."""
    from parity.config.fly_toml import load_fly_config

    folder = Path(os.environ.get("FLY_CONFIG_DIR", "."))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"definition-{os.getpid()}.toml"
    path.write_text(toml_text(definition), "utf-8")
    try:
        return load_fly_config(path, as_flyctl=True)
    finally:
        path.unlink()


def print_rows(rows: list[dict[str, Any]], as_json: bool, *columns: str) -> None:
    """Print rows as JSON, or the named columns separated by tabs."""
    if as_json:
        click.echo(json.dumps(rows, indent=4))
        return
    for row in rows:
        click.echo("\t".join(str(row[name]) for name in columns))
