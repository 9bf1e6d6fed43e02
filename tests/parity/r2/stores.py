"""The stores that the rule battery runs on."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.parity.r2.conftest import run_stand_in
from tests.ports import free_ports
from tests.tools import TOOLS, Unavailable

from parity.r2.rules import RULES
from parity.r2.settings import Behaviour, R2Settings, Upstream
from parity.r2.sigv4 import Token

STORES = ("moto", "s3", "versitygw")


@contextmanager
def _lenient_s3() -> Iterator[str]:
    """Another stand-in over plain HTTP with every rule off: an S3 endpoint that accepts whatever it can."""
    behaviour = Behaviour(unsigned_streaming="accept", rules_off=frozenset(rule.number for rule in RULES))
    settings = R2Settings("unused", (Token("upstream", "upstream-secret", admin=True),), behaviour=behaviour)
    with run_stand_in(settings, None) as stand_in:
        yield stand_in.url


@contextmanager
def _versitygw(binary: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="versitygw-") as folder:
        (port,) = free_ports(1)
        for name in ("data", "meta"):
            Path(folder, name).mkdir()
        environment = {"ROOT_ACCESS_KEY": "upstream", "ROOT_SECRET_KEY": "upstream-secret", "HOME": folder}
        process = subprocess.Popen(
            [binary, "--port", f"127.0.0.1:{port}", "posix", "--sidecar", f"{folder}/meta", f"{folder}/data"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)


@contextmanager
def available(store: str) -> Iterator[Upstream | None]:
    """The upstream of that store, ``None`` for moto in the process; skips where there is no versitygw."""
    if store == "moto":
        yield None
    elif store == "s3":
        with _lenient_s3() as url:
            yield Upstream(url, "upstream", "upstream-secret", "us-east-1")
    else:
        try:
            binary = TOOLS["versitygw"].find()
        except Unavailable as error:
            pytest.skip(str(error))
        with _versitygw(binary) as url:
            _wait_for(url)
            yield Upstream(url, "upstream", "upstream-secret", "us-east-1")
