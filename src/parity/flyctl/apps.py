"""Commands about an app: logins, creation, releases, status, checks and logs."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

import click

from parity.flyctl.client import Client, FlyError, exchange, group_of
from parity.flyctl.shared import APP_QUERY, RELEASES_QUERY, app_option, json_option, print_rows

APPS_QUERY = "query { apps(first: 400) { nodes { id name deployed status organization { slug } } } }"
STATUS_QUERY = (
    "query ($appName: String!) { app(name: $appName) { name version currentReleaseUnprocessed { version } } }"
)


@click.group()
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


@click.group()
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
    print_rows(rows, as_json, "Name", "Status")


@apps.command("destroy")
@click.argument("name")
@click.option("--yes", "-y", is_flag=True)
def apps_destroy(name: str, yes: bool) -> None:  # noqa: ARG001 - flyctl's flag
    Client(name).flaps("DELETE", "")
    click.echo(f"Destroyed app {name}")


@click.command("releases")
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
    print_rows(rows, as_json, "Version", "Status", "ImageRef")


@click.command("status")
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


@click.group("checks")
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


@click.command("logs")
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
