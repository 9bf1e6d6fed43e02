"""``parity r2``: objects, faults, snapshots and costs, through the stand-in's admin API."""

from __future__ import annotations

import json
import os
import ssl
import sys
from typing import Any
from urllib.parse import urlencode

import click
import httpx

from parity.r2.cost import cost_by_endpoint, routes_of, table
from parity.r2.faults import DROPS
from parity.stack.admin_client import ask
from parity.stack.errors import StackError
from parity.stack.target import Target, require_own_stack


def _url() -> str:
    return require_own_stack(os.environ).settings.admin_url


def _admin(method: str, path: str, body: object = None) -> Any:
    return ask(_url(), method, path, body)


@click.group("r2")
def group() -> None:
    """List and read the objects of the R2 stand-in, set faults, and make snapshots."""


@group.command("ls")
@click.argument("prefix", default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(prefix: str, as_json: bool) -> None:
    """List the bucket's objects whose key begins with PREFIX."""
    objects: list[dict[str, Any]] = []
    more = True
    while more:
        after = objects[-1]["key"] if objects else ""
        page = _admin("GET", f"/r2/objects?{urlencode({'prefix': prefix, 'after': after})}")
        objects += page["objects"]
        more = page["truncated"]
    if as_json:
        click.echo(json.dumps(objects, indent=2))
        return
    for found in objects:
        click.echo(f"{found['size']:>12}  {found['key']}")


@group.command()
@click.argument("key")
def cat(key: str) -> None:
    """Write an object's content to standard output."""
    url = f"{_url()}/r2/object?{urlencode({'key': key})}"
    try:
        answer = httpx.get(url, timeout=120, trust_env=False)
    except httpx.TransportError as error:
        raise StackError(
            f"the admin API at {url} does not answer: {error!r}", "is the stack up? `parity status`"
        ) from None
    if answer.status_code != 200:
        raise StackError(
            f"{key}: {answer.status_code} {answer.json().get('detail', '')}", "`parity r2 ls` shows the keys"
        )
    sys.stdout.buffer.write(answer.content)


@group.command()
@click.argument("name", required=False)
def snapshot(name: str | None) -> None:
    """Save the bucket's objects to disk now. With NAME, make a snapshot that `restore` can go back to."""
    answer = _admin("POST", "/r2/snapshot", {"name": name} if name else {})
    if not answer["folder"]:
        raise StackError("nothing is saved here: the upstream keeps its own objects", "use PARITY_R2_STORE=moto")
    click.echo(f"saved in {answer['folder']}" + (f", snapshot {name}" if name else ""))


@group.command()
@click.argument("name", required=False)
def restore(name: str | None) -> None:
    """Put the bucket back to the snapshot NAME. Without NAME, list the snapshots."""
    if not name:
        for found in _admin("GET", "/r2/snapshots")["snapshots"]:
            click.echo(found)
        return
    _admin("POST", "/r2/restore", {"name": name})
    click.echo(f"the bucket is as it was at {name}")


@group.command()
@click.option(
    "--days", type=click.FloatRange(0, 100_000), required=True, help="How many days to move the clock forward."
)
def lifecycle(days: float) -> None:
    """Apply the bucket's lifecycle rules as if DAYS had passed, and list the keys that they affected."""
    for what, keys in _admin("POST", "/r2/lifecycle/run", {"days": days}).items():
        for key in keys:
            click.echo(f"{what}  {key}")


@group.command()
@click.confirmation_option(prompt="Remove every object of the stand-in's bucket?")
def reset() -> None:
    """Delete all objects of the bucket, all faults, and the request log."""
    _admin("POST", "/r2/reset")
    click.echo("the bucket is empty")


@group.group(invoke_without_command=True)
@click.pass_context
def fault(context: click.Context) -> None:
    """Make the R2 stand-in fail or delay matching requests. Without a command, list the faults that are set."""
    if context.invoked_subcommand is not None:
        return
    for found in _admin("GET", "/r2/faults")["faults"]:
        click.echo(_fault_line(found))


def _fault_line(found: dict[str, Any]) -> str:
    told = {name: value for name, value in found.items() if value not in (None, "", 0, 0.0) and name != "id"}
    return f"{found['id']}  " + "  ".join(f"{name}={value}" for name, value in told.items())


@fault.command("add")
@click.option(
    "--key",
    default="*",
    show_default=True,
    help="Which object keys, as a shell pattern. For a list request it is compared with the prefix.",
)
@click.option(
    "--operation",
    default="",
    help="Which operation, such as PutObject, or OPTIONS for CORS preflights. Default: all except preflights.",
)
@click.option(
    "--count", type=click.IntRange(1), help="How many requests get the fault. Default: 1, or with --rate no limit."
)
@click.option("--rate", type=click.FloatRange(0, 1), help="Probability that a matching request gets the fault.")
@click.option(
    "--status", type=click.IntRange(400, 599), help="Answer with this HTTP status and do not carry out the request."
)
@click.option("--code", help="The S3 error code of that answer, such as SlowDown.")
@click.option("--delay", type=float, help="Seconds to wait before the request is handled.")
@click.option(
    "--drop",
    type=click.Choice(DROPS),
    help="Close the connection without an answer, before or after the request took effect.",
)
@click.option("--cut", type=click.IntRange(0), help="Close the connection after this many bytes of the answer's body.")
@click.option("--skew", type=float, help="How many seconds R2's clock is ahead of the client's.")
def add(**options: Any) -> None:
    """Set a fault for the next requests that match --key and --operation."""
    fault_ = {name: value for name, value in options.items() if value not in (None, "")}
    click.echo(_fault_line(_admin("POST", "/r2/faults", fault_)))


@fault.command("clear")
@click.argument("fault_id", required=False)
def clear(fault_id: str | None) -> None:
    """Remove the fault FAULT_ID, or all faults, and print how many requests each one hit."""
    query = f"?{urlencode({'id': fault_id})}" if fault_id else ""
    for found in _admin("DELETE", f"/r2/faults{query}")["faults"]:
        click.echo(f"{found['id']} fired {found['fired']} time(s)")


@group.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cost(as_json: bool) -> None:
    """Show what the R2 requests of each endpoint of the backend would have cost on R2.

    Work that a request sets off and that outlives it, such as an export, counts for that request.
    """
    edge = _admin("GET", "/fly/requests")
    seen = _admin("GET", "/r2/requests?limit=20000")["requests"]
    found = cost_by_endpoint(seen, edge, _routes())
    if as_json:
        click.echo(json.dumps({name: endpoint.to_json() for name, endpoint in found.items()}, indent=2))
    else:
        click.echo(table(found))


def _routes() -> list[tuple[str, str]]:
    """The app's endpoints from its OpenAPI document; an empty list and a printed reason when the app does not
    answer."""
    target = Target.from_environment()
    try:
        context = ssl.create_default_context(cafile=target.ca)
        answer = httpx.get(f"{target.api_url}/openapi.json", timeout=30, trust_env=False, verify=context)
        document = answer.raise_for_status().json()
    except (OSError, httpx.HTTPError, ValueError) as error:
        click.echo(f"paths are shown as they were asked for: {target.api_url}/openapi.json: {error}", err=True)
        return []
    return routes_of(document if isinstance(document, dict) else {})
