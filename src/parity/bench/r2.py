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
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
import click
from botocore.config import Config

from parity.bench.r2_load import Load, Target, load
from parity.bench.r2_tls import Spent, bare, spent
from parity.bench.standin import free_ports

CACHE = Path(os.environ.get("PARITY_TEST_CACHE", Path.home() / ".cache" / "parity-tests"))
BUCKET, KEY, SECRET = "bench-bucket", "0b1ec7", "bench-secret"
SIZES = {"100 KiB": 100 << 10, "10 MiB": 10 << 20}
CLIENTS = (1, 16)
MIB = 1 << 20

_SERVE = """
import asyncio, sys
from pathlib import Path
import uvloop
from parity.certs import ensure_certificates
from parity.r2.server import serve_s3
from parity.r2.settings import R2Settings
from parity.r2.sigv4 import Token
async def main(folder, port, bucket, key, secret):
    certificates = ensure_certificates(folder / "ca", folder / "trust", ["localhost"])
    settings = R2Settings(bucket, (Token(key, secret),), state=folder / "r2", save_seconds=0)
    async with serve_s3(settings, "127.0.0.1", port, 0, certificates):
        await asyncio.Event().wait()
uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
"""


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise click.ClickException(f"nothing listens on port {port} after 30 s")


@contextmanager
def _process(arguments: list[str], port: int) -> Iterator[int]:
    environment = dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def stand_in() -> Iterator[tuple[Target, int]]:
    """A stand-in in a process of its own, and its process id."""
    with tempfile.TemporaryDirectory(prefix="parity-bench-") as folder:
        port = free_ports(1)[0]
        arguments = [sys.executable, "-c", _SERVE, folder, str(port), BUCKET, KEY, SECRET]
        with _process(arguments, port) as pid:
            yield Target(f"https://localhost:{port}", f"{folder}/trust/ca.pem"), pid


def _moto_server() -> Path:
    folder = CACHE / "venvs" / f"moto-{version('moto')}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, f"moto[s3,server]=={version('moto')}"], check=True)
        (folder / "complete").touch()
    return folder / "bin" / "moto_server"


@contextmanager
def moto() -> Iterator[tuple[Target, int]]:
    port = free_ports(1)[0]
    with _process([str(_moto_server()), "-H", "127.0.0.1", "-p", str(port)], port) as pid:
        yield Target(f"http://localhost:{port}"), pid


def client(target: Target) -> Any:
    options: Any = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    return boto3.client(
        "s3",
        endpoint_url=target.url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="auto",
        verify=target.ca or None,
        config=Config(signature_version="s3v4", max_pool_connections=32, **options),
    )


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


def _measure(target: Target, seconds: float) -> dict[tuple[str, str, str, int], Load]:
    """(by what, verb, size, clients) → what was reached."""
    s3 = client(target)
    if not target.ca:
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "auto"})
    found: dict[tuple[str, str, str, int], Load] = {}
    for name, size in SIZES.items():
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
    size = SIZES["10 MiB"]
    servers = {
        "stand-in": stand_in(),
        "bare TLS": bare(_process, free_ports(1)[0], size, tls=True),
        "no TLS": bare(_process, free_ports(1)[0], size, tls=False),
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
        ours = _measure(target, seconds)
    with moto() as (target, _):
        theirs = _measure(target, seconds)
    told(f"{os.cpu_count()} cores, Python {platform.python_version()}, moto {version('moto')}, {seconds:g} s each")
    told(
        f"{'by':<6} {'':<4} {'size':<8} {'clients':>7} {'stand-in/s':>11} {'p50 ms':>8} {'moto_server/s':>14} {'×':>6}"
    )
    rows = []
    for (by, verb, size, clients), mine in sorted(ours.items(), key=lambda item: (item[0][0] == "boto3", item[0][2])):
        other = theirs[by, verb, size, clients]
        ratio = mine.per_second / other.per_second
        told(
            f"{by:<6} {verb:<4} {size:<8} {clients:>7} {mine.per_second:>11.0f} {mine.median_ms:>8.2f} "
            f"{other.per_second:>14.0f} {ratio:>6.1f}"
        )
        rows.append(
            {"by": by, "verb": verb, "size": size, "clients": clients, "ratio": ratio, "per_s": mine.per_second}
        )
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
