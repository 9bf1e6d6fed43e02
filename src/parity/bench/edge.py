"""Measures the Fly stand-in's edge: requests per second of a small app behind it, relative to the app without it.

Behind the edge the client speaks TLS, with HTTP/1.1 or HTTP/2; directly it speaks plain HTTP/1.1, as Fly's proxy does
to the app. The app, the edge and the load share a machine, and both ways are measured alternately. ``h2load`` (Debian's
nghttp2-client) makes the load if it is on PATH, otherwise ``httpx``. The latter is slower than the app, so its ratios
are too high.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median

import click
import httpx

from parity.bench.frame import Figure, conditions, figure_table, in_turn, number
from parity.bench.standin import source_path

CLIENTS = (1, 16)
# Lowest accepted ratio, by protocol and number of clients: half of the first measured values.
BARS = {("HTTP/1.1", 1): 0.04, ("HTTP/1.1", 16): 0.07, ("HTTP/2", 1): 0.04, ("HTTP/2", 16): 0.04}
Work = Callable[[int], Awaitable[float]]


class LoadFailed(Exception):
    """The stand-in did not start, or a response was not 2xx; the message has the details."""


@dataclass(frozen=True)
class Served:
    """URLs of the app behind the edge and without it; ``ca`` is the CA file that a client of the edge must trust."""

    edge: str
    bare: str
    ca: str


@contextmanager
def served() -> Iterator[Served]:
    """Run the app and the stand-in as processes. Raises ``LoadFailed``."""
    with tempfile.TemporaryDirectory(prefix="parity-bench-") as folder:
        command = [sys.executable, "-m", "parity.bench.edge_child", folder]
        environment = {**os.environ, "PYTHONPATH": source_path()}
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
                if not line:
                    raise LoadFailed("the Fly stand-in ended before it was ready; its error is printed above")
                yield Served(**json.loads(line))
            finally:
                process.stdin.close()  # then it stops its Machine and ends


def by_h2load(url: str, clients: int, seconds: float, *, http2: bool) -> float:
    """Requests per second. Raises ``LoadFailed`` if a response is not 2xx."""
    command = ["h2load", "--duration", str(max(1, round(seconds))), "--clients", str(clients)]
    command += [] if http2 else ["--h1"]
    said = subprocess.run([*command, url], capture_output=True, text=True, check=False).stdout
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", said)
    codes = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", said)
    if not (rate and codes and int(codes[1])):
        raise LoadFailed(f"{' '.join(command)} {url}: not every response was 2xx:\n{said[-1000:]}")
    return float(rate[1])


async def by_httpx(url: str, clients: int, seconds: float, *, http2: bool, ca: str) -> float:
    """Requests per second of ``clients`` with a connection each. Raises ``httpx.HTTPError``.

    Each sends at least one request, even where a busy computer lets it begin only after ``seconds``.
    """
    context = ssl.create_default_context(cafile=ca)

    async def one(until: float) -> int:
        count = 0
        async with httpx.AsyncClient(verify=context, http2=http2, trust_env=False) as client:
            while time.perf_counter() < until or not count:
                (await client.get(url)).raise_for_status()
                count += 1
        return count

    began = time.perf_counter()
    counts = await asyncio.gather(*(one(began + seconds) for _ in range(clients)))
    return sum(counts) / (time.perf_counter() - began)


def _work(tool: str, where: Served, url: str, clients: int, seconds: float, *, http2: bool) -> Work:
    async def work(_: int) -> float:
        if tool == "h2load":
            return await asyncio.to_thread(by_h2load, url, clients, seconds, http2=http2)
        return await by_httpx(url, clients, seconds, http2=http2, ca=where.ca)

    return work


def tool_of_path() -> str:
    """The name of the program that makes the load."""
    return "h2load" if shutil.which("h2load") else "httpx"


def run(rounds: int, seconds: float) -> list[Figure]:
    """The ratio for each protocol and number of clients: medians of the rounds."""
    figures = []
    tool = tool_of_path()
    with served() as where:
        for protocol in ("HTTP/1.1", "HTTP/2"):
            for clients in CLIENTS:
                edge = _work(tool, where, where.edge, clients, seconds, http2=protocol == "HTTP/2")
                bare = _work(tool, where, where.bare, clients, seconds, http2=False)
                through, directly = asyncio.run(in_turn(rounds, [edge, bare]))
                share = median(one / other for one, other in zip(through, directly, strict=True))
                note = f"{number(median(through))}/s against {number(median(directly))}/s, by {tool}"
                name = f"{protocol} over TLS, {clients} client{'s' if clients > 1 else ''}"
                figures.append(Figure(name, share, "× bare app", at_least=BARS[protocol, clients], note=note))
    return figures


@click.command("edge")
@click.option("--rounds", default=3, show_default=True, help="How many times each pair is measured.")
@click.option("--seconds", default=2.0, show_default=True, help="Length of each measurement in seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(rounds: int, seconds: float, as_json: bool) -> None:
    """Compare an app behind the Fly stand-in's edge with the same app without it."""
    told: Sequence[str] = conditions(["uvicorn", "h2"], {"rounds": rounds, "seconds": seconds, "load": tool_of_path()})
    figures = run(rounds, seconds)
    if as_json:
        click.echo(json.dumps({"conditions": told, "figures": [asdict(figure) for figure in figures]}, indent=2))
    else:
        click.echo("\n".join([*told, "", *figure_table(figures)]))
