"""A stand-in in this process, over TLS, and clients for it."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from parity.certs import Certificates, ensure_certificates
from parity.r2.cors import CorsRule
from parity.r2.server import serve_s3
from parity.r2.service import Service
from parity.r2.settings import R2Settings
from parity.r2.sigv4 import Token

BUCKET = "reel-ballers-users"
OBJECT_TOKEN = Token("0b1ec7", "object-secret")
ADMIN_TOKEN = Token("ad0000", "admin-secret", admin=True)
ORIGIN = "https://app.example"
POLICY = (CorsRule((ORIGIN,), ("GET", "PUT", "HEAD"), ("content-type", "range"), ("ETag",), 3600),)
SETTINGS = R2Settings(BUCKET, (OBJECT_TOKEN, ADMIN_TOKEN), POLICY, save_seconds=0)


@dataclass
class StandIn:
    """A running stand-in. ``call`` runs a coroutine in its event loop."""

    service: Service
    url: str
    admin_url: str
    ca: Path | None
    loop: asyncio.AbstractEventLoop

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(120)

    def client(self, token: Token = OBJECT_TOKEN, **config: Any) -> Any:
        """A boto3 client as the backend makes it; ``config`` overrides."""
        options: dict[str, Any] = {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "retries": {"total_max_attempts": 1},
            "signature_version": "s3v4",
            **config,
        }
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=token.access_key,
            aws_secret_access_key=token.secret,
            region_name=options.pop("region_name", "auto"),
            verify=str(self.ca) if self.ca else None,
            config=Config(**options),
        )


def _end(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    loop.call_soon_threadsafe(ended.set)


@contextmanager
def run_stand_in(settings: R2Settings, certificates: Certificates | None) -> Iterator[StandIn]:
    """Serve in a thread with an event loop of its own, as the process would; plain HTTP without certificates."""
    started: threading.Event = threading.Event()
    found: list[StandIn] = []
    failures: list[BaseException] = []
    stop: list[Callable[[], None]] = []

    async def serve() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        stop.append(functools.partial(_end, loop, ended))
        async with serve_s3(settings, "127.0.0.1", 0, 0, certificates) as (service, ports):
            scheme, ca = ("https", certificates.ca) if certificates else ("http", None)
            url, admin = f"{scheme}://localhost:{ports.s3}", f"http://127.0.0.1:{ports.admin}"
            found.append(StandIn(service, url, admin, ca, loop))
            started.set()
            await ended.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  # raised again in the test's thread
            failures.append(error)
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(120)
    if failures:
        thread.join()
        raise failures[0]
    try:
        yield found[0]
    finally:
        stop[0]()
        thread.join()
    if failures:
        raise failures[0]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("r2-certificates")
    return ensure_certificates(folder / "ca", folder / "trust", ["localhost", "127.0.0.1", f"{BUCKET}.localhost"])


@pytest.fixture(scope="module")
def shared(certificates: Certificates) -> Iterator[StandIn]:
    """One stand-in for all tests of a module."""
    with run_stand_in(SETTINGS, certificates) as stand_in:
        yield stand_in


@pytest.fixture
def r2(shared: StandIn) -> Iterator[StandIn]:
    """The module's stand-in, emptied before and back to its settings after the test."""
    shared.call(shared.service.reset())
    yield shared
    shared.service.front.behave(SETTINGS.behaviour)


@pytest.fixture
def start(certificates: Certificates) -> Iterator[Callable[..., StandIn]]:
    """Start stand-ins with settings of their own: ``start(state=folder)``."""
    running: list[Any] = []

    def begin(**changes: Any) -> StandIn:
        context = run_stand_in(replace(SETTINGS, **changes), certificates)
        running.append(context)
        return context.__enter__()

    yield begin
    for context in reversed(running):
        context.__exit__(None, None, None)
