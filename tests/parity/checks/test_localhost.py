"""Names below ``localhost`` are found by every client, also where the system's resolver does not know them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from parity.checks.localhost import resolve_localhost


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A resolver that knows no names."""
    system = socket.getaddrinfo

    def resolver(host: Any, *rest: Any, **options: Any) -> Any:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return system(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return monkeypatch


async def test_a_presigned_url_of_a_compose_stack_is_reached(port: int, unknown: pytest.MonkeyPatch) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://r2.localhost:{port}/")
        resolve_localhost(unknown)
        assert (await client.get(f"http://r2.localhost:{port}/")).status_code == 200
    with socket.create_connection(("r2.localhost", port)) as connection:
        assert connection.getpeername()[0] == "127.0.0.1"


def test_other_names_stay_unknown(unknown: pytest.MonkeyPatch) -> None:
    resolve_localhost(unknown)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("r2.localhost.example", 9000)


def test_what_the_system_knows_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("172.20.0.5", 9000))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known)
    resolve_localhost(monkeypatch)
    assert socket.getaddrinfo("r2.localhost", 9000) == known
