"""The stores that the rule battery runs on."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from tests.parity.r2.conftest import run_stand_in

from parity.r2.rules import RULES
from parity.r2.settings import Behaviour, R2Settings, Upstream
from parity.r2.sigv4 import Token

STORES = ("moto", "s3", "versitygw")
CACHE = Path(os.environ.get("PARITY_TEST_CACHE", Path.home() / ".cache" / "parity-tests"))


@contextmanager
def _lenient_s3() -> Iterator[str]:
    """Another stand-in over plain HTTP with every rule off: an S3 endpoint that accepts whatever it can."""
    behaviour = Behaviour(unsigned_streaming="accept", rules_off=frozenset(rule.number for rule in RULES))
    settings = R2Settings("unused", (Token("upstream", "upstream-secret", admin=True),), behaviour=behaviour)
    with run_stand_in(settings, None) as stand_in:
        yield stand_in.url


def versitygw_binary() -> str | None:
    return shutil.which("versitygw", path=f"{CACHE / 'bin'}:{os.environ.get('PATH', '')}")


@contextmanager
def _versitygw(binary: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="versitygw-") as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
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
            process.wait(10)


async def _listening(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    deadline = asyncio.get_running_loop().time() + 20
    while asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise TimeoutError(url)


@asynccontextmanager
async def available(store: str) -> AsyncIterator[Upstream | None]:
    """The upstream of that store, ``None`` for moto in the process; skips where there is no versitygw."""
    if store == "moto":
        yield None
    elif store == "s3":
        with _lenient_s3() as url:
            yield Upstream(url, "upstream", "upstream-secret", "us-east-1")
    else:
        binary = versitygw_binary()
        if binary is None:
            pytest.skip(f"no versitygw on PATH or in {CACHE}/bin (go install …/versitygw/cmd/versitygw@v1.8.0)")
        with _versitygw(binary) as url:
            await _listening(url)
            yield Upstream(url, "upstream", "upstream-secret", "us-east-1")
