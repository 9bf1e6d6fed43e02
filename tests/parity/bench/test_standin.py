"""A stand-in for a measurement starts although another program was quicker to take its port."""

from __future__ import annotations

import socket

import httpx
import pytest

from parity.bench import standin


def test_a_port_that_was_taken_meanwhile_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    free = standin.free_ports
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = [taken.getsockname()[1]]

        def ports(count: int) -> list[int]:
            return [given.pop(), *free(count - 1)] if given else free(count)

        monkeypatch.setattr(standin, "free_ports", ports)
        with standin.running() as started:
            assert httpx.get(f"{started.admin_url}/r2/healthz", trust_env=False, timeout=60).is_success
            assert str(taken.getsockname()[1]) not in started.url
