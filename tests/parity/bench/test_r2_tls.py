"""What the share of TLS is computed from."""

from __future__ import annotations

import os
import ssl
import time

import httpx

from parity.bench.r2 import _free_port, _process
from parity.bench.r2_tls import bare, spent


def test_processor_time_is_told_per_request_and_does_not_count_waiting() -> None:
    def busy() -> int:
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
        return 3

    found = spent(os.getpid(), busy)
    assert found.client_ms >= 100
    # The same process, seen from outside, in ticks of 10 ms.
    assert abs(found.server_ms - found.client_ms) < 20


def _trusting(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca or None)


def test_a_bare_server_sends_the_same_bytes_with_and_without_tls() -> None:
    for tls in (True, False):
        with (
            bare(_process, _free_port(), 300_000, tls=tls) as (target, _),
            httpx.Client(base_url=target.url, verify=_trusting(target.ca), trust_env=False) as client,
        ):
            first, second = (client.get("/anything").content for _ in range(2))
            assert target.url.startswith("https:" if tls else "http:")
            assert first == second
            assert len(first) == 300_000
