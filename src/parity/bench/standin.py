"""Starts an R2 stand-in for a measurement: as a process, with TLS, all rules and the admin API."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_SOURCES = Path(__file__).parents[2]
_ROOT = _SOURCES.parent
ACCESS_KEY, SECRET = "0b1ec7", "bench-secret"
_START_SECONDS = 120.0


class NotStarted(Exception):
    """The stand-in ended or did not answer; the message contains the end of its log."""


@dataclass(frozen=True)
class StandIn:
    """``url`` is the S3 endpoint, ``ca`` the CA file that a client must trust, ``pid`` the process id."""

    url: str
    admin_url: str
    ca: Path
    bucket: str
    pid: int

    def backend_environment(self) -> dict[str, str]:
        """The environment variables with which the backend uses this stand-in."""
        return {
            "R2_ENABLED": "true",
            "R2_ENDPOINT": self.url,
            "R2_ACCESS_KEY_ID": ACCESS_KEY,
            "R2_SECRET_ACCESS_KEY": SECRET,
            "R2_BUCKET": self.bucket,
            "AWS_CA_BUNDLE": str(self.ca),
        }


def source_path() -> str:
    """``PYTHONPATH`` of a process that measures: the harness and the backend."""
    return os.pathsep.join(str(path) for path in (_SOURCES, _SOURCES / "backend"))


def totals(admin_url: str) -> dict[str, Any]:
    """The counts of all requests since `forget`, in the form of `parity.r2.seen.Tally`."""
    answer = httpx.get(f"{admin_url}/r2/requests", params={"limit": 1}, trust_env=False, timeout=30)
    total: dict[str, Any] = answer.raise_for_status().json()["total"]
    return total


def forget(admin_url: str) -> None:
    """Reset the counts."""
    httpx.delete(f"{admin_url}/r2/requests", trust_env=False, timeout=30).raise_for_status()


def behave(admin_url: str, **changes: str) -> None:
    """Change how R2 behaves, for instance ``write_window="0.3-1.4"``."""
    httpx.post(f"{admin_url}/r2/behaviour", json=changes, trust_env=False, timeout=30).raise_for_status()


@contextmanager
def slow_puts(admin_url: str, seconds: float) -> Iterator[None]:
    """Delay the response to each PUT by ``seconds``."""
    fault = {"operation": "PutObject", "count": 1_000_000, "delay": seconds}
    answer = httpx.post(f"{admin_url}/r2/faults", json=fault, trust_env=False, timeout=30).raise_for_status()
    try:
        yield
    finally:
        httpx.delete(f"{admin_url}/r2/faults", params={"id": answer.json()["id"]}, trust_env=False, timeout=30)


@contextmanager
def running() -> Iterator[StandIn]:
    """A new stand-in with an empty bucket; killed and deleted afterwards. Raises ``NotStarted``."""
    with tempfile.TemporaryDirectory(prefix="parity-bench-") as folder:
        process, standin = _start(Path(folder))
        try:
            yield standin
        finally:
            # Killed, because its data need not be saved.
            process.kill()
            process.wait()


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], StandIn]:
    """Start it; retry twice with other ports if another program took one of them first."""
    for last_try in (False, False, True):
        port, admin = free_ports(2)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PARITY_", "R2_", "AWS_"))},
            "PYTHONPATH": source_path(),
            "PARITY_ROOT": str(_ROOT),
            "PARITY_STATE_DIR": str(folder),
            "PARITY_R2_PORT": str(port),
            "PARITY_R2_ADMIN_PORT": str(admin),
            "PARITY_R2_SAVE_SECONDS": "0",
            "R2_ACCESS_KEY_ID": ACCESS_KEY,
            "R2_SECRET_ACCESS_KEY": SECRET,
        }
        log = folder / "r2.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "parity.r2", "serve"], env=environment, stdout=out, stderr=out
            )
        admin_url = f"http://127.0.0.1:{admin}"
        try:
            bucket = _await_health(admin_url, process, log)
        except BaseException as error:
            process.kill()
            process.wait()
            if last_try or not (isinstance(error, NotStarted) and "Address already in use" in str(error)):
                raise
        else:
            ca = folder / "trust" / "ca.pem"
            return process, StandIn(f"https://localhost:{port}", admin_url, ca, bucket, process.pid)
    raise AssertionError("the last try returns or raises")


def _await_health(admin_url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = httpx.get(f"{admin_url}/r2/healthz", trust_env=False, timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if answer.is_success:
            return str(answer.json()["bucket"])
        time.sleep(0.05)
    raise NotStarted(
        f"the R2 stand-in ended, or was not healthy within {_START_SECONDS:g} s. Its log: {log.read_text()[-2000:]}"
    )


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which no program listens."""
    # All stay open until the last is found; otherwise the system could return the same port twice.
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports
