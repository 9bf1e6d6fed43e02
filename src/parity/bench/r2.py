"""Compares the R2 stand-in (all rules on) with ``moto_server`` and nginx, all over TLS, and times a gigabyte in parts.

The servers and the load share a machine, and each pair is measured alternately: the ratios also hold on other machines,
the times do not. ``moto_server`` runs in a virtual environment of its own, built on demand in a cache folder. nginx is
measured if it is installed. It only serves a file, so it shows the lowest cost of a read over TLS.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click

from parity.bench.frame import Figure, conditions, figure_table, in_turn, number
from parity.bench.r2_load import Target, load
from parity.bench.r2_servers import BUCKET, client, moto, nginx, stand_in

SIZES = {"100 KiB": 100 << 10, "10 MiB": 10 << 20}
LARGE = "10 MiB"
CLIENTS = (1, 16)
MIB = 1 << 20
# Lowest ratios to moto_server; highest ratio of nginx to the stand-in; most memory (MB) for a gigabyte in parts.
BARS = {("raw", "100 KiB"): 3.0, ("boto3", "100 KiB"): 1.5, ("raw", LARGE): 1.0, ("boto3", LARGE): 1.0}
NGINX_BAR, GIGABYTE_BAR = 1.3, 150.0
Work = Callable[[int], Awaitable[float]]


def _raw(s3: Any, target: Target, verb: str, size: int, clients: int, seconds: float) -> Work:
    """Measures requests per second, presigned, so that signing is not measured. Each connection has its own key."""
    host = target.url.partition("//")[2]
    body = os.urandom(size)
    requests: list[list[bytes]] = []
    for key in range(clients):
        params = {"Bucket": BUCKET, "Key": f"load/{size}/{key}"}
        s3.put_object(**params, Body=body)
        path = s3.generate_presigned_url(f"{verb.lower()}_object", params, ExpiresIn=3600).partition(host)[2]
        requests.append([_request(verb, host, path, body if verb == "PUT" else b"")])
    return _loaded(target, requests, seconds)


def _request(verb: str, host: str, path: str, body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if verb == "PUT" else ""
    return f"{verb} {path} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n".encode() + body


def _loaded(target: Target, requests: list[list[bytes]], seconds: float) -> Work:
    async def work(_: int) -> float:
        return (await load(target, requests, seconds)).per_second

    return work


def _boto3(s3: Any, _target: Target, verb: str, size: int, clients: int, seconds: float) -> Work:
    body = os.urandom(size)

    def run(until: float, key: int) -> int:
        where, count = {"Bucket": BUCKET, "Key": f"boto3/{size}/{key}"}, 0
        while time.perf_counter() < until or not count:
            if verb == "PUT":
                s3.put_object(**where, Body=body)
            else:
                s3.get_object(**where)["Body"].read()
            count += 1
        return count

    def all_at_once() -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            return sum(pool.map(partial(run, began + seconds), range(clients))) / (time.perf_counter() - began)

    for key in range(clients):
        s3.put_object(Bucket=BUCKET, Key=f"boto3/{size}/{key}", Body=body)
    return lambda _: asyncio.to_thread(all_at_once)


def _compare(rounds: int, ours: Work, theirs: Work) -> tuple[float, float]:
    """Our requests per second, and their ratio to the other server's: medians of the rounds."""
    mine, others = asyncio.run(in_turn(rounds, [ours, theirs]))
    return median(mine), median(one / other for one, other in zip(mine, others, strict=True))


def against_moto(rounds: int, seconds: float, sizes: Mapping[str, int] = SIZES) -> list[Figure]:
    """The stand-in's requests per second relative to those of ``moto_server``."""
    figures = []
    with stand_in() as (ours, _), moto() as (theirs, _):
        for by, made in (("raw", _raw), ("boto3", _boto3)):
            for name, size in sizes.items():
                for clients in CLIENTS:
                    for verb in ("PUT", "GET"):
                        works = [
                            made(client(target), target, verb, size, clients, seconds) for target in (ours, theirs)
                        ]
                        per_second, ratio = _compare(rounds, works[0], works[1])
                        what = f"{verb} {name}, {by}, {clients} client{'s' if clients > 1 else ''}"
                        note = f"{number(per_second)}/s"
                        figures.append(Figure(what, ratio, "× moto_server", at_least=BARS.get((by, name)), note=note))
    return figures


def against_nginx(rounds: int, seconds: float, size: int = SIZES[LARGE]) -> list[Figure]:
    """nginx's reads per second relative to those of the stand-in; empty if nginx is not installed."""
    with ExitStack() as stack:
        served = stack.enter_context(nginx(size))
        if served is None:
            return []
        ours, _ = stack.enter_context(stand_in())
        figures = []
        for clients in CLIENTS:
            mine = _raw(client(ours), ours, "GET", size, clients, seconds)
            host = served.url.partition("//")[2]
            theirs = _loaded(served, [[_request("GET", host, "/body")]] * clients, seconds)
            per_second, ratio = _compare(rounds, mine, theirs)
            what = f"GET {size >> 20} MiB, raw, {clients} client{'s' if clients > 1 else ''}: nginx"
            figures.append(
                Figure(what, 1 / ratio, "× stand-in", at_most=NGINX_BAR, note=f"stand-in {number(per_second)}/s")
            )
        return figures


def _memory(pid: int) -> float:
    """Peak resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1000


def gigabyte(parts: int = 64) -> list[Figure]:
    """Times a multipart upload in parts of 16 MiB, its completion and reads of it, and takes the peak memory."""
    part = os.urandom(16 * MIB)
    with stand_in() as (target, pid):
        s3 = client(target)
        began = time.perf_counter()
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big")["UploadId"]

        def send(place: int) -> dict[str, Any]:
            answer = s3.upload_part(Bucket=BUCKET, Key="big", UploadId=upload, PartNumber=place, Body=part)
            return {"PartNumber": place, "ETag": answer["ETag"]}

        with ThreadPoolExecutor(4) as pool:
            sent = list(pool.map(send, range(1, parts + 1)))
        uploaded = time.perf_counter()
        s3.complete_multipart_upload(Bucket=BUCKET, Key="big", UploadId=upload, MultipartUpload={"Parts": sent})
        joined = time.perf_counter()
        for start in range(0, parts * 16 * MIB, 10 * MIB):
            s3.get_object(Bucket=BUCKET, Key="big", Range=f"bytes={start}-{start + 99}")["Body"].read()
        ranged = time.perf_counter()
        for _ in s3.get_object(Bucket=BUCKET, Key="big")["Body"].iter_chunks(MIB):
            pass
        ranges = len(range(0, parts * 16 * MIB, 10 * MIB))
        return [
            Figure(f"{parts * 16} MiB in parts: upload", uploaded - began, "s"),
            Figure("completing the upload", (joined - uploaded) * 1000, "ms"),
            Figure("GET of 100 bytes of it", (ranged - joined) * 1000 / ranges, "ms"),
            Figure("GET of the whole object", time.perf_counter() - ranged, "s"),
            Figure("peak memory of the stand-in", _memory(pid), "MB", at_most=GIGABYTE_BAR),
        ]


def run(rounds: int, seconds: float) -> list[Figure]:
    return [*against_moto(rounds, seconds), *against_nginx(rounds, seconds), *gigabyte()]


@click.command("r2")
@click.option("--rounds", default=3, show_default=True, help="How many times each pair is measured.")
@click.option("--seconds", default=1.0, show_default=True, help="Length of each measurement in seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(rounds: int, seconds: float, as_json: bool) -> None:
    """Compare the R2 stand-in with moto_server and nginx over TLS, and time a multipart upload of 1 GiB."""
    told: Sequence[str] = conditions(["moto", "boto3", "uvloop"], {"rounds": rounds, "seconds": seconds})
    figures = run(rounds, seconds)
    if as_json:
        click.echo(json.dumps({"conditions": told, "figures": [asdict(figure) for figure in figures]}, indent=2))
    else:
        click.echo("\n".join([*told, "", *figure_table(figures)]))
