"""``parity init``: write parity.toml, stand-in secrets and a contract's skeleton from what a repository shows."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click
import httpx

from parity.config.compose_env import HOME
from parity.config.project import PARITY_TOML
from parity.init.find import Findings, look
from parity.init.openapi import NoDocument, Route, from_source, from_url
from parity.init.write import CONTRACT_FILE, SECRETS_FILE, compose_yaml, contract, parity_toml, secrets_env

# While the app is imported for its OpenAPI document: what clients take for an address. Nothing is asked there.
_ADDRESS = "https://localhost:9"


@click.command()
@click.option("--url", help="URL of a running app from which the OpenAPI document is read. Default: import the app.")
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
def init(url: str | None, force: bool) -> None:
    """Write parity.toml, stand-in secrets and a skeleton contract for this repository, and list what to fill in."""
    root = Path(os.environ.get("PARITY_ROOT") or ".").resolve()
    found = look(root)
    routes: list[Route] = []
    try:
        routes = _routes(root, found, url)
    except NoDocument as error:
        found.problems.append(f"{CONTRACT_FILE}: its routes are to be written by hand, as {error}")
    texts = {
        PARITY_TOML: parity_toml(found),
        SECRETS_FILE: secrets_env(found),
        CONTRACT_FILE: contract(found, routes),
    }
    compose = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
    if found.dockerfile:
        harness = os.path.relpath(HOME, root)
        texts["compose.yaml"] = compose_yaml(found, harness)
    for name, text in texts.items():
        path = root / name
        other = next((file for file in compose if name == compose[0] and file != name and (root / file).exists()), "")
        if other:
            click.echo(f"kept     {other}: the include and `api` of docs/your-own-backend.md go into it, for Docker")
            continue
        if path.exists() and not force:
            click.echo(f"kept     {name} (--force writes over it)")
            continue
        path.write_text(text, "utf-8")
        click.echo(f"wrote    {name}")
    for line in missing(found, texts):
        click.echo(f"to do    {line}")
    click.echo("then     `parity config check`, `parity up`, `parity check`")


def _routes(root: Path, found: Findings, url: str | None) -> list[Route]:
    if url is not None:
        try:
            return from_url(url)
        except (httpx.HTTPError, ValueError) as error:
            raise click.ClickException(f"{url} has no OpenAPI document: {error}") from None
    own = root / ".venv/bin/python"
    addresses = {name for name in found.must if name.endswith(("URL", "ENDPOINT"))} | {found.r2.get("R2_ENDPOINT", "")}
    values = {name: _ADDRESS if name in addresses else "stand-in" for name in found.must} | found.env
    with tempfile.TemporaryDirectory() as folder:  # the image's paths may be written to when the app is imported
        image = {name: f"{folder}{v}" if v.startswith("/") else v for name, v in found.image_env.items()}
        python = own if own.exists() else Path(sys.executable)
        return from_source(python, root / found.directory, found.command, {"TMPDIR": folder} | image | values)


def missing(found: Findings, texts: dict[str, str]) -> list[str]:
    """What a person has to add, most important first."""
    told = list(found.problems)
    told += [
        f"no variable for {ours} was found: name it in [secrets.names] of parity.toml"
        for ours in ("R2_ENDPOINT", "R2_BUCKET", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY")
        if ours not in found.r2
    ]
    unknown = [line.partition("=")[0] for line in texts[SECRETS_FILE].splitlines() if line.endswith("=TODO")]
    if unknown:
        told.append(f"{SECRETS_FILE}: stand-in values for {', '.join(unknown)}")
    if not found.origin:
        told.append("parity.toml: frontend_origin, if the page has another origin than the API")
    if not found.cors:
        told.append("parity.toml: [r2] cors, if a browser uploads to the bucket or plays from it")
    told += [
        f"{file} names {place}: without Docker all Machines share this path, and none begins with an empty disk. Read"
        " it from a variable, and set that variable to a relative path in env of [app.process]"
        for place, file in found.places.items()
    ]
    told += [
        f"parity.toml: {name} looks like an address. Declare a service in [services], or an outside API in [stubs]"
        for name in found.outside
    ]
    if not (found.environment or found.services.get("postgres")):
        told.append(f"{CONTRACT_FILE}: keeps, the prefix in the bucket below which people's data lies")
    if found.litestream:
        told.append(f"{CONTRACT_FILE}: within_s of keeps, how late Litestream's replica may be")
    return [*told, f"{CONTRACT_FILE}: sign_in, write and read are guesses; correct them"]
