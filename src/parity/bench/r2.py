"""The R2 stand-in, TLS and all rules on, against ``moto_server``, plain HTTP and no rules; and a gigabyte in parts.

Both servers and the load run on the same machine: the numbers compare, they do not promise. ``moto_server`` runs from a
virtual environment of its own, built on demand in a cache folder, because the harness does not need it otherwise.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from parity.bench.r2_load import Load, Target, load
from parity.bench.r2_servers import BUCKET, client, moto, process, stand_in
from parity.bench.r2_tls import Spent, bare, spent
from parity.bench.standin import free_ports

SIZES = {"100 KiB": 100 << 10, "10 MiB": 10 << 20}
LARGE = "10 MiB"
CLIENTS = (1, 16)
MIB = 1 << 20


def _requests(s3: Any, target: Target, size: int, clients: int) -> dict[str, list[list[bytes]]]:
    """Presigned, so that signing is not part of what is measured; a key for each connection."""
    host = target.url.partition("//")[2]
    body = os.urandom(size)
    puts: list[list[bytes]] = []
    gets: list[list[bytes]] = []
    for number in range(clients):
        params = {"Bucket": BUCKET, "Key": f"load/{size}/{number}"}
        for operation, found in (("put_object", puts), ("get_object", gets)):
            path = s3.generate_presigned_url(operation, params, ExpiresIn=3600).partition(host)[2]
            verb = "PUT" if operation == "put_object" else "GET"
            length = f"Content-Length: {size}\r\n" if verb == "PUT" else ""
            head = f"{verb} {path} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n".encode()
            found.append([head + body if verb == "PUT" else head])
    return {"PUT": puts, "GET": gets}


def _by_boto3(s3: Any, verb: str, size: int, clients: int, seconds: float) -> Load:
    body, times = os.urandom(size), []

    def run(number: int) -> None:
        key = f"boto3/{size}/{number}"
        until = time.perf_counter() + seconds
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        while (began := time.perf_counter()) < until:
            if verb == "PUT":
                s3.put_object(Bucket=BUCKET, Key=key, Body=body)
            else:
                s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(run, range(clients)))
    elapsed = time.perf_counter() - began
    return Load(len(times) / elapsed, sorted(times)[len(times) // 2] * 1000)


def _measure(target: Target, seconds: float, sizes: Mapping[str, int]) -> dict[tuple[str, str, str, int], Load]:
    """(by what, verb, size, clients) → what was reached."""
    s3 = client(target)
    found: dict[tuple[str, str, str, int], Load] = {}
    for name, size in sizes.items():
        for clients in CLIENTS:
            requests = _requests(s3, target, size, clients)
            for verb in ("PUT", "GET"):
                found["raw", verb, name, clients] = asyncio.run(load(target, requests[verb], seconds))
                found["boto3", verb, name, clients] = _by_boto3(s3, verb, size, clients, seconds)
    return found


def _memory(pid: int) -> float:
    """Peak resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1000


def gigabyte() -> dict[str, float]:
    """A multipart upload of 1 GiB in parts of 16 MiB, its join, ranges of it: seconds, and the server's peak in MB."""
    part = os.urandom(16 * MIB)
    with stand_in() as (target, pid):
        s3 = client(target)
        began = time.perf_counter()
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big")["UploadId"]

        def send(number: int) -> dict[str, Any]:
            answer = s3.upload_part(Bucket=BUCKET, Key="big", UploadId=upload, PartNumber=number, Body=part)
            return {"PartNumber": number, "ETag": answer["ETag"]}

        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(send, range(1, 65)))
        uploaded = time.perf_counter()
        s3.complete_multipart_upload(Bucket=BUCKET, Key="big", UploadId=upload, MultipartUpload={"Parts": parts})
        joined = time.perf_counter()
        for start in range(0, 1000 * MIB, 10 * MIB):
            s3.get_object(Bucket=BUCKET, Key="big", Range=f"bytes={start}-{start + 99}")["Body"].read()
        ranged = time.perf_counter()
        for _ in s3.get_object(Bucket=BUCKET, Key="big")["Body"].iter_chunks(MIB):
            pass
        return {
            "upload_s": uploaded - began,
            "join_s": joined - uploaded,
            "range_ms": (ranged - joined) * 10,
            "read_s": time.perf_counter() - ranged,
            "peak_mb": _memory(pid),
        }


def _reads(s3: Any, key: str, clients: int, seconds: float) -> int:
    """How often ``clients`` threads read an object in so many seconds."""
    until = time.perf_counter() + seconds

    def read(_: int) -> int:
        count = 0
        while time.perf_counter() < until:
            s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            count += 1
        return count

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(read, range(clients)))


def tls_share(seconds: float) -> dict[str, Spent]:
    """Sixteen threads of boto3 read 10 MiB: from the stand-in, from a bare TLS server, in the clear."""
    size = SIZES[LARGE]
    servers = {
        "stand-in": stand_in(),
        "bare TLS": bare(process, free_ports(1)[0], size, tls=True),
        "no TLS": bare(process, free_ports(1)[0], size, tls=False),
    }
    found = {}
    for name, server in servers.items():
        with server as (target, pid):
            s3 = client(target)
            if name == "stand-in":
                s3.put_object(Bucket=BUCKET, Key="tls", Body=os.urandom(size))
            found[name] = spent(pid, functools.partial(_reads, s3, "tls", 16, seconds))
    return found


def run(seconds: float, told: Callable[[str], None]) -> dict[str, Any]:
    """Every measurement; ``told`` gets each line as it comes."""
    with stand_in() as (target, _):
        ours = _measure(target, seconds, SIZES)
    with moto() as (target, _):
        theirs = _measure(target, seconds, SIZES)
    # Like with like where TLS itself is what takes the time.
    with moto(tls=True) as (target, _):
        over_tls = _measure(target, seconds, {LARGE: SIZES[LARGE]})
    told(f"{os.cpu_count()} cores, Python {platform.python_version()}, moto {version('moto')}, {seconds:g} s each")
    told(
        f"{'by':<6} {'':<4} {'size':<8} {'clients':>7} {'stand-in/s':>11} {'p50 ms':>8} {'moto_server/s':>14} {'×':>6} "
        f"{'over TLS/s':>11} {'×':>6}"
    )
    rows = []
    for (by, verb, size, clients), mine in sorted(ours.items(), key=lambda item: (item[0][0] == "boto3", item[0][2])):
        other = theirs[by, verb, size, clients]
        ratio = mine.per_second / other.per_second
        row = {"by": by, "verb": verb, "size": size, "clients": clients, "ratio": ratio, "per_s": mine.per_second}
        like = ""
        if tls := over_tls.get((by, verb, size, clients)):
            row["ratio_tls"] = mine.per_second / tls.per_second
            like = f" {tls.per_second:>11.0f} {row['ratio_tls']:>6.1f}"
        told(
            f"{by:<6} {verb:<4} {size:<8} {clients:>7} {mine.per_second:>11.0f} {mine.median_ms:>8.2f} "
            f"{other.per_second:>14.0f} {ratio:>6.1f}{like}"
        )
        rows.append(row)
    shares = tls_share(seconds)
    told(
        "GET of 10 MiB by boto3, 16 clients, requests and processor time of one: "
        + "; ".join(
            f"{name} {found.per_second:.0f}/s, {found.server_ms:.1f} ms server, {found.client_ms:.1f} ms client"
            for name, found in shares.items()
        )
    )
    big = gigabyte()
    told("1 GiB in parts: " + ", ".join(f"{name} {value:.3g}" for name, value in big.items()))
    return {"rows": rows, "gigabyte": big, "processor": {name: asdict(found) for name, found in shares.items()}}


@click.command("r2")
@click.option("--seconds", default=3.0, show_default=True, help="Length of each measurement.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(seconds: float, as_json: bool) -> None:
    """The R2 stand-in against moto_server; a gigabyte in parts."""
    result = run(seconds, (lambda _: None) if as_json else click.echo)
    if as_json:
        click.echo(json.dumps(result, indent=2))


if __name__ == "__main__":
    command()
