"""What the share of TLS is computed from."""

from __future__ import annotations

import os
import ssl
import time

import httpx

from parity.bench.r2_servers import process
from parity.bench.r2_tls import bare, spent
from parity.bench.standin import free_ports


def test_processor_time_is_told_per_request_and_does_not_count_waiting() -> None:
    def busy() -> int:
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
        return 3

    began = time.perf_counter()
    found = spent(os.getpid(), busy)
    # Three requests, and no more time than passed here.
    assert 3 / found.per_second <= time.perf_counter() - began
    assert found.client_ms >= 100
    # The same process, seen from outside, in ticks of 10 ms.
    assert abs(found.server_ms - found.client_ms) < 20


def _trusting(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca or None)


def test_a_bare_server_sends_the_same_bytes_with_and_without_tls() -> None:
    for tls in (True, False):
        with (
            bare(process, free_ports(1)[0], 300_000, tls=tls) as (target, _),
            httpx.Client(base_url=target.url, verify=_trusting(target.ca), trust_env=False) as client,
        ):
            first, second = (client.get("/anything").content for _ in range(2))
            assert target.url.startswith("https:" if tls else "http:")
            assert first == second
            assert len(first) == 300_000
