"""Measures the replication of SQLite to R2. Each measure runs in a process of its own, against an R2 stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import click

from parity.bench.frame import Figure, conditions, figure_table
from parity.bench.standin import StandIn, running, source_path

PACKAGES = ("apsw", "boto3", "uvloop", "lz4", "moto")
MEASURES = {
    "write": "a durable small write against a bare PUT",
    "log": "bytes per write over a long log, and the time to open it",
    "load": "acknowledged writes per second, compared with whole files and Litestream",
    "lag": "delay of the event loop",
    "idle": "many idle profiles",
    "cost": "operations and dollars",
}
QUICK = {"rounds": 100, "writes": 500, "seconds": 4.0, "profiles": 200, "idle_seconds": 3.0}


class MeasureFailed(Exception):
    """A measurement's process ended with an error; the message contains its stderr."""


def measure(name: str, stand_in: StandIn, sizes: dict[str, Any]) -> list[Figure]:
    """Run one measure in a process of its own. Raises ``MeasureFailed``."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("R2_", "AWS_", "SYNC_"))}
    done = subprocess.run(
        [sys.executable, "-m", "parity.bench.replication_child", name, stand_in.admin_url, json.dumps(sizes)],
        env={**inherited, **stand_in.backend_environment(), "PYTHONPATH": source_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MeasureFailed(f"{name}: {done.stderr[-3000:]}")
    return [Figure(**figure) for figure in json.loads(done.stdout)]


def run(names: Sequence[str], sizes: dict[str, Any]) -> dict[str, list[Figure]]:
    """The named measures in turn, each against an empty bucket. Raises ``MeasureFailed`` and ``NotStarted``."""
    found = {}
    for name in names:
        with running() as stand_in:
            found[name] = measure(name, stand_in, sizes)
    return found


@click.command("replication")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(sorted(MEASURES)),
    help="Run only this measure. May be given several times.",
)
@click.option(
    "--quick", is_flag=True, help="Run fewer rounds. This shows that the benchmark works; its figures mean little."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(only: Sequence[str], quick: bool, as_json: bool) -> None:
    """Measure the replication of SQLite to R2: latency, bytes, throughput, opening, idling and price."""
    sizes: dict[str, Any] = QUICK if quick else {}
    if not as_json:
        for line in conditions(PACKAGES, {"stand-in": "parity.r2, a process, TLS, all rules", **sizes}):
            click.echo(line)
    everything: dict[str, object] = {}
    for name in only or MEASURES:
        try:
            figures = run([name], sizes)[name]
        except MeasureFailed as error:
            raise click.ClickException(str(error)) from None
        everything[name] = [{**vars(figure), "met": figure.met} for figure in figures]
        if not as_json:
            click.echo(f"\n{name}: {MEASURES[name]}")
            click.echo("\n".join(figure_table(figures)))
    if as_json:
        click.echo(json.dumps(everything, indent=2))
