"""Starts the servers that the R2 benchmark compares, each as a process, and makes boto3 clients for them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
import click
from botocore.config import Config

from parity.bench.r2_load import Target
from parity.bench.standin import free_ports
from parity.certs import ensure_certificates

CACHE = Path(os.environ.get("PARITY_TEST_CACHE", Path.home() / ".cache" / "parity"))
BUCKET, KEY, SECRET = "bench-bucket", "0b1ec7", "bench-secret"
_START_SECONDS = 120.0

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
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise click.ClickException(f"nothing listens on port {port} after {_START_SECONDS:g} s")


@contextmanager
def process(arguments: list[str], port: int) -> Iterator[int]:
    """Start a process, wait until it listens on ``port``, and give its id. Raises ``ClickException``."""
    environment = dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def stand_in() -> Iterator[tuple[Target, int]]:
    """Run an R2 stand-in, and give its address and process id."""
    with tempfile.TemporaryDirectory(prefix="parity-bench-") as folder:
        port = free_ports(1)[0]
        arguments = [sys.executable, "-c", _SERVE, folder, str(port), BUCKET, KEY, SECRET]
        with process(arguments, port) as pid:
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
    """Run ``moto_server`` over TLS with an empty bucket, and give its address and process id."""
    with tempfile.TemporaryDirectory(prefix="parity-bench-") as name:
        folder, port = Path(name), free_ports(1)[0]
        certificates = ensure_certificates(folder / "ca", folder / "trust", ["localhost"])
        tls = ["-s", "-c", str(certificates.chain), "-k", str(certificates.key)]
        target = Target(f"https://localhost:{port}", str(certificates.ca))
        with process([str(_moto_server()), "-H", "127.0.0.1", "-p", str(port), *tls], port) as pid:
            client(target).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "auto"})
            yield target, pid


@contextmanager
def nginx(size: int) -> Iterator[Target | None]:
    """Run nginx over TLS with one worker and ``size`` bytes at ``/body``; ``None`` if it is not installed."""
    program = shutil.which("nginx")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="parity-bench-") as name:
        folder, port = Path(name), free_ports(1)[0]
        certificates = ensure_certificates(folder / "ca", folder / "trust", ["localhost"])
        (folder / "body").write_bytes(os.urandom(size))
        paths = "".join(
            f"{part}_temp_path {folder}/{part};" for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; worker_processes 1; user root; pid {folder}/pid; error_log {folder}/log;"
            "events {} http { access_log off; sendfile on; keepalive_requests 1000000; "
            f"{paths} server {{ listen 127.0.0.1:{port} ssl; root {folder};"
            f"ssl_certificate {certificates.chain}; ssl_certificate_key {certificates.key}; }} }}"
        )
        folder.chmod(0o755)
        with process([program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "log")], port):
            yield Target(f"https://localhost:{port}", str(certificates.ca))


def client(target: Target) -> Any:
    """boto3's S3 client with the settings that R2 requires."""
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
