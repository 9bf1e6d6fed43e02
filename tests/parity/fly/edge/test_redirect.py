"""The plain port."""

from __future__ import annotations

import asyncio

import pytest
from tests.parity.fly.support import Edge, StartEdge

from parity.fly.edge.redirect import location


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        (b"app.fly.dev", 8443, b"https://app.fly.dev/a?b"),
        (b"localhost:8080", 8443, b"https://localhost:8443/a?b"),
        (b"app.fly.dev:80", 443, b"https://app.fly.dev/a?b"),
        (b"[::1]:8080", 8443, b"https://[::1]:8443/a?b"),
    ],
)
def test_a_host_with_a_port_gets_the_tls_port_as_published(host: bytes, port: int, expected: bytes) -> None:
    assert location(host, b"/a?b", port) == expected


async def plain(edge: Edge, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.standin.ports.http)
    writer.write(data)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    return answer


async def test_force_https_answers_301_with_flys_headers(edge: Edge) -> None:
    answer = await plain(
        edge, b"POST /x?y=1 HTTP/1.1\r\nHost: app.fly.dev\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"
    )
    assert answer.startswith(b"HTTP/1.1 301 Moved Permanently\r\n")
    assert b"location: https://app.fly.dev/x?y=1\r\n" in answer
    assert b"server: Fly/" in answer
    assert b"fly-request-id: " in answer


async def test_without_force_https_the_app_answers_and_is_told_http(start_edge: StartEdge) -> None:
    edge = await start_edge(force_https=False)
    answer = await plain(edge, b"GET /show HTTP/1.1\r\nHost: app.fly.dev\r\nConnection: close\r\n\r\n")
    assert b'["x-forwarded-proto", "http"]' in answer
    assert b'["x-forwarded-port", "80"]' in answer


@pytest.mark.parametrize(("data", "status"), [(b"nonsense\r\n\r\n", 400), (b"GET / HTTP", 408)])
async def test_what_is_no_request_is_refused_as_on_the_other_port(
    start_edge: StartEdge, data: bytes, status: int
) -> None:
    edge = await start_edge(head_timeout_s=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.standin.ports.http)
    writer.write(data)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"fly-request-id: " in answer
    assert edge.standin.context.log.entries()[-1].status == status
