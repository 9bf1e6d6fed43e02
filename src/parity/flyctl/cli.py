"""The commands of the flyctl double, with the flags and output formats that promotions and their tests use.

Only the commands that read fly.toml import its reader: pydantic's start takes four times as long as a command without.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from parity.config.errors import ConfigError
from parity.config.units import seconds
from parity.flyctl.client import LEASE_S, Client, FlyError, exchange, group_of
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
LATEST_QUERY = (
    "query LatestImage ($appName: String!) "
    "{ app(name: $appName) { id name version currentReleaseUnprocessed { id version imageRef } } }"
)
APPS_QUERY = "query { apps(first: 400) { nodes { id name deployed status organization { slug } } } }"
STATUS_QUERY = (
    "query ($appName: String!) { app(name: $appName) { name version currentReleaseUnprocessed { version } } }"
)
APP_QUERY = (
    "query($appName: String!) { appcompact:app(name: $appName) "
    "{ id name hostname deployed status appUrl platformVersion organization { id slug name } } }"
)
COMMAND_LEASE_S = 120

app_option = click.option("--app", "-a", required=True)
json_option = click.option("--json", "as_json", is_flag=True)
stage_option = click.option("--stage", is_flag=True)


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


@fly.group()
def auth() -> None:
    """Logins."""


@auth.command("docker")
def auth_docker() -> None:
    """Log Docker in to the registry. Like flyctl, ask the registry without and with the login first."""
    Client()
    host = os.environ.get("FLY_REGISTRY_HOST", "")
    login = base64.b64encode(f"x:{os.environ['FLY_API_TOKEN']}".encode()).decode()
    try:
        exchange("GET", f"http://{host}/v2/")
        status, _ = exchange("GET", f"http://{host}/v2/", {"Authorization": f"Basic {login}"})
    except FlyError as error:
        raise FlyError(f"failed authenticating with {host}: {error}") from None
    if status != 200:
        raise FlyError(f"failed authenticating with {host}: {status}")
    _docker_login(host, login)
    click.echo(f"Authentication successful. You can now tag and push images to {host}/{{your-app}}")


def _docker_login(host: str, login: str) -> None:
    """Write the login (``user:password`` in base64) into Docker's configuration file.

    flyctl does the same; it does not run ``docker login``.
    """
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path(os.environ.get("HOME", "~")).expanduser() / ".docker")
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        config = {}
    config.setdefault("auths", {})[host] = {"auth": login}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=2), "utf-8")


@fly.group()
def apps() -> None:
    """Apps."""


@apps.command("create")
@click.argument("name")
def apps_create(name: str) -> None:
    client = Client(name)
    slug = client.query("query ($admin: Boolean) { organizations(admin: $admin) { nodes { id slug } } }", admin=False)
    organization = slug["organizations"]["nodes"][0]["slug"]
    body = {"name": name, "org_slug": organization, "network": "", "app_role_id": ""}
    client.call("flaps", "POST", "/v1/apps?wait=true", body)
    client.flaps("GET", "")
    click.echo(f"New app created: {name}")


@apps.command("list")
@json_option
def apps_list(as_json: bool) -> None:
    nodes = Client().query(APPS_QUERY)["apps"]["nodes"]
    rows = [{"ID": n["id"], "Name": n["name"], "Deployed": n["deployed"], "Status": n["status"]} for n in nodes]
    _print(rows, as_json, "Name", "Status")


@apps.command("destroy")
@click.argument("name")
@click.option("--yes", "-y", is_flag=True)
def apps_destroy(name: str, yes: bool) -> None:  # noqa: ARG001 - flyctl's flag
    Client(name).flaps("DELETE", "")
    click.echo(f"Destroyed app {name}")


@fly.group("config")
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
    definition = _definition(Client(app))
    config.write_text(toml_text(definition), "utf-8")
    click.echo(f"Wrote config file {config}")


def _definition(client: Client) -> dict[str, Any]:
    """The configuration of the newest release, which flyctl reads before it changes Machines."""
    release = client.query(CONFIG_QUERY, appName=client.app)["app"]["currentReleaseUnprocessed"]
    if not release or not release["configDefinition"]:
        raise FlyError(f"{client.app} has no release to read the configuration from; deploy it first")
    return {**release["configDefinition"], "app": client.app}


@fly.group("secrets")
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
    _print(rows, as_json, "name", "digest", "status")


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

    definition = _definition(client)
    client.flaps("GET", "")
    latest = client.query(LATEST_QUERY, appName=app)["app"]["currentReleaseUnprocessed"]
    config = _config_of(definition)
    # A deploy of secrets runs no release command.
    config = config.model_copy(update={"deploy": config.deploy.model_copy(update={"release_command": ""})})
    timeout = config.deploy.wait_timeout_s
    deploy(client, Plan(config, definition, latest["imageRef"], "rolling", timeout), click.echo)


def _config_of(definition: dict[str, Any]) -> FlyConfig:
    from parity.config.fly_toml import load_fly_config

    folder = Path(os.environ.get("FLY_CONFIG_DIR", "."))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"definition-{os.getpid()}.toml"
    path.write_text(toml_text(definition), "utf-8")
    try:
        return load_fly_config(path, as_flyctl=True)
    finally:
        path.unlink()


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


@fly.group("machine")
def machine_group() -> None:
    """Machines."""


@machine_group.command("list")
@app_option
@json_option
def machine_list(app: str, as_json: bool) -> None:
    _print(Client(app).flaps("GET", "/machines"), as_json, "id", "state", "region")


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


@fly.command("releases")
@app_option
@json_option
@click.option("--image", is_flag=True)
def releases(app: str, as_json: bool, image: bool) -> None:  # noqa: ARG001 - flyctl's flag
    nodes = Client(app).query(RELEASES_QUERY, appName=app, limit=25)["app"]["releases"]["nodes"]
    rows = [
        {
            "ID": one["id"],
            "Version": one["version"],
            "Stable": one["stable"],
            "Description": one["description"],
            "Status": one["status"],
            "CreatedAt": one["createdAt"],
            "ImageRef": one["imageRef"],
        }
        for one in nodes
    ]
    _print(rows, as_json, "Version", "Status", "ImageRef")


@fly.command("status")
@app_option
@json_option
def status(app: str, as_json: bool) -> None:
    client = Client(app)
    shown = client.query(APP_QUERY, appName=app)["appcompact"]
    machines = client.flaps("GET", "/machines")
    current = client.query(STATUS_QUERY, appName=app)["app"]
    data = {
        "Name": shown["name"],
        "Deployed": shown["deployed"],
        "Status": shown["status"],
        "Hostname": shown["hostname"],
        "Version": current["version"],
        "Machines": machines,
    }
    if as_json:
        click.echo(json.dumps(data, indent=4))
        return
    click.echo(f"App\n  Name = {shown['name']}\n  Hostname = {shown['hostname']}\n\nMachines")
    for one in machines:
        click.echo(f"{group_of(one)}\t{one['id']}\t{one['region']}\t{one['state']}")


@fly.group("checks")
def checks_group() -> None:
    """Health checks."""


@checks_group.command("list")
@app_option
@json_option
def checks_list(app: str, as_json: bool) -> None:
    found = {one["id"]: one["checks"] for one in Client(app).flaps("GET", "/machines")}
    if as_json:
        click.echo(json.dumps(found, indent=4))
        return
    for name, checks in found.items():
        for one in checks:
            click.echo(f"{one['name']}\t{one['status']}\t{name}\t{one['output']}")


@fly.command("logs")
@app_option
@json_option
@click.option("--no-tail", is_flag=True)
@click.option("--instance", "-i", default="")
def logs(app: str, as_json: bool, no_tail: bool, instance: str) -> None:
    """Print log lines from the REST API, which flyctl uses when NATS is not available (logs/polling.go)."""
    client, token = Client(app), ""
    while True:
        query = f"next_token={token}" + (f"&instance={instance}" if instance else "")
        found = client.call("graphql", "GET", f"/api/v1/apps/{app}/logs?{query}")
        for line in found["data"]:
            attributes = line["attributes"]
            text = f"{attributes['timestamp']} app[{attributes['instance']}] {attributes['region']} [info]"
            click.echo(json.dumps(attributes) if as_json else f"{text} {attributes['message']}")
        token = found["meta"]["next_token"]
        if no_tail:
            return
        time.sleep(1)


@fly.group("scale")
def scale_group() -> None:
    """The number of Machines."""


@scale_group.command("count")
@click.argument("count", type=int)
@app_option
@click.option("--yes", "-y", is_flag=True)
def scale_count(count: int, app: str, yes: bool) -> None:  # noqa: ARG001 - flyctl's flag
    """Set the number of Machines of the group that serves HTTP, by cloning or destroying (count_machines.go)."""
    client = Client(app)
    group = _config_of(_definition(client)).group
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


def _print(rows: list[dict[str, Any]], as_json: bool, *columns: str) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=4))
        return
    for row in rows:
        click.echo("\t".join(str(row[name]) for name in columns))
