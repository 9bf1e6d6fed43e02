"""HTTP/1.1 through the edge: raw sockets where the bytes matter, httpx where a client does."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.parity.fly.support import Edge, StartEdge, until

from parity.fly.edge import http1
from parity.fly.edge.http1 import origin_form, request_body
from parity.fly.edge.request import Body


def get(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: app.fly.dev", *headers, "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/a?b", (b"/a?b", None)),
        (b"*", (b"*", None)),
        (b"http://host:1/a?b", (b"/a?b", b"host:1")),
        (b"https://host", (b"/", b"host")),
        (b"host:443", (b"", None)),
        (b"ftp://host/", (b"", None)),
    ],
)
def test_a_target_is_brought_into_origin_form(target: bytes, expected: tuple[bytes, bytes | None]) -> None:
    assert origin_form(target) == expected


def test_transfer_encoding_wins_over_a_missing_length() -> None:
    assert request_body([(b"Transfer-Encoding", b"chunked")]) is Body.CHUNKED
    assert request_body([(b"Content-Length", b"0")]) is Body.LENGTH
    assert request_body([]) is Body.NONE


async def test_raw_header_bytes_order_and_duplicates_reach_the_app_and_come_back(edge: Edge) -> None:
    answer = await edge.raw(get("/show", "X-Dup: 1", "x-other: \xfc", "X-DUP: 2", "Connection: close"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.index(b"x-dup: a") < head.index(b"x-dup: b")
    sent = [pair for pair in json.loads(body)["headers"] if pair[0] in ("x-dup", "x-other")]
    assert [name for name, _ in sent] == ["x-dup", "x-other", "x-dup"]


async def test_an_uncompressed_response_keeps_its_length_and_one_server_header(edge: Edge) -> None:
    head = (await edge.raw(get("/text", "Connection: close"))).partition(b"\r\n\r\n")[0]
    assert b"content-length: 10000" in head
    assert head.count(b"server:") == 1
    assert b"fly-request-id: " in head


async def test_the_app_sees_a_peer_that_it_does_not_trust(edge: Edge) -> None:
    answer = await edge.get("/show")
    assert answer["peer"] != "127.0.0.1"
    assert answer["scheme"] == "http"


async def test_pipelined_requests_are_answered_in_order(edge: Edge) -> None:
    paths = ["/text", "/show?1", "/nowhere", "/show?2"]
    data = b"".join(get(path) for path in paths) + get("/events", "Connection: close")
    answer = await edge.raw(data)
    assert answer.count(b"HTTP/1.1 ") == 5
    assert answer.index(b"word ") < answer.index(b'"query": "1"') < answer.index(b"not found")
    assert answer.index(b"not found") < answer.index(b'"query": "2"') < answer.index(b"[]")


async def test_a_thousand_pipelined_requests_are_all_answered(edge: Edge) -> None:
    answer = await edge.raw(get("/nowhere") * 999 + get("/nowhere", "Connection: close"))
    assert answer.count(b"HTTP/1.1 404") == 1000


async def test_a_head_request_gets_the_length_and_no_body(edge: Edge) -> None:
    answer = await edge.raw(b"HEAD /text HTTP/1.1\r\nHost: a\r\n\r\n" + get("/nowhere", "Connection: close"))
    first, _, rest = answer.partition(b"\r\n\r\n")
    assert b"content-length: 10000" in first
    assert rest.startswith(b"HTTP/1.1 404")


async def test_an_http_1_0_client_gets_an_unchunked_body_that_ends_with_the_connection(edge: Edge) -> None:
    head, _, body = (await edge.raw(b"GET /big?100000 HTTP/1.0\r\n\r\n")).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert len(body) == 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_400_and_the_connection_ends(edge: Edge, data: bytes) -> None:
    assert (await edge.raw(data)).startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_too_long_a_target_is_414_and_too_large_a_head_431(edge: Edge) -> None:
    assert (await edge.raw(get("/" + "a" * 20_000))).startswith(b"HTTP/1.1 414 ")
    assert (await edge.raw(get("/", *(f"x-{n}: {'a' * 8000}" for n in range(9))))).startswith(b"HTTP/1.1 431 ")


async def test_an_endless_header_is_cut_with_431(edge: Edge) -> None:
    assert (await edge.raw(b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 600_000)).startswith(b"HTTP/1.1 431 ")


async def test_a_chunked_body_arrives_whole(edge: Edge) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for size in (1, 70_000, 3):
            yield b"x" * size

    async with edge.client() as client:
        answer = (await client.post("/show", content=pieces())).json()
    assert answer["size"] == 70_004
    assert dict(answer["headers"])["transfer-encoding"] == "chunked"


async def test_expect_100_continue_is_answered_by_the_app(edge: Edge) -> None:
    reader, writer = await edge.connect()
    writer.write(b"POST /show HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    async with asyncio.timeout(60):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 Continue\r\n")
        writer.write(b"hello")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_an_early_answer_reaches_a_client_that_still_sends(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "LINGER_S", 60.0)  # a busy machine needs long for so large a body
    async with edge.client() as client:
        answer = await client.post("/early", content=b"x" * 20_000_000)
    assert (answer.status_code, answer.content) == (413, b"too large")


async def test_the_app_sees_that_the_client_went_away(edge: Edge) -> None:
    _, writer = await edge.connect()
    writer.write(get("/hold"))
    await until(lambda: _has(edge, "held"), "the request arrived")
    writer.transport.abort()
    await until(lambda: _has(edge, "client left"), "the app was told")
    await until(lambda: edge.machine.load == 0, "its place is free")


async def _has(edge: Edge, event: str) -> bool:
    return event in await edge.get("/events")


async def test_a_machine_that_dies_before_it_answers_is_502_with_flys_headers(edge: Edge) -> None:
    async with edge.client() as client:
        answer = await client.get("/crash")
    assert answer.status_code == 502
    assert answer.headers["server"].startswith("Fly/")
    assert "fly-request-id" in answer.headers


async def test_a_machine_that_dies_in_the_middle_cuts_the_response_so_that_the_client_notices(edge: Edge) -> None:
    async with edge.client() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/cut")


async def test_a_websocket_refused_by_the_app_is_an_ordinary_answer(edge: Edge) -> None:
    upgrade = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    assert (await edge.raw(get("/ws/refuse", *upgrade))).startswith(b"HTTP/1.1 403 Forbidden\r\n")


async def test_an_upgrade_to_something_else_is_served_as_http_1_1(edge: Edge) -> None:
    data = get("/nowhere", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAM")
    assert (await edge.raw(data + get("/nowhere", "Connection: close"))).count(b"HTTP/1.1 404") == 2


async def test_300_mb_each_way_stay_within_bounded_memory(edge: Edge) -> None:
    size = 300_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // 1_000_000):
            yield bytes(1_000_000)

    async with edge.client() as client:
        answer = await client.post("/show", content=pieces(), headers={"content-length": str(size)}, timeout=100)
        assert answer.json()["size"] == size
        total = 0
        async with client.stream("GET", f"/big?{size}") as response:
            async for piece in response.aiter_raw():
                total += len(piece)
    assert total == size
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


async def test_a_client_that_does_not_read_stops_the_app_from_being_read(edge: Edge) -> None:
    _, writer = await edge.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(get("/big?200000000"))
    entry = edge.standin.context.log.entries
    await until(lambda: bool(entry()) and entry()[-1].bytes_out > 0, "it began")
    seen = -1
    while seen != entry()[-1].bytes_out:  # until nothing more comes
        seen = entry()[-1].bytes_out
        await edge.get("/events")
        await asyncio.sleep(0.2)
        if entry()[-1].target == "/events":
            break
    (big,) = [e for e in entry() if e.target.startswith("/big")]
    assert big.bytes_out < 50_000_000
    writer.transport.abort()


async def test_an_idle_timeout_cuts_only_where_it_is_set(start_edge: StartEdge) -> None:
    edge = await start_edge(idle_timeout_s=0.3)
    async with edge.client() as client:
        assert (await client.get("/hold")).status_code == 502
    assert edge.standin.context.log.entries()[-1].outcome == "idle timeout"


async def test_a_configured_response_header_is_added(start_edge: StartEdge) -> None:
    toml = '\n[http_service.http_options.response.headers]\nx-frame-options = "DENY"\n'
    edge = await start_edge(toml=toml)
    async with edge.client() as client:
        assert (await client.get("/nowhere")).headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("data", "status", "target"),
    [
        (b"nonsense\r\n\r\n", 400, ""),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "/"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "/x"),
        (b"GET /big HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431, "/big"),
    ],
)
async def test_the_edges_own_refusals_look_like_flys_and_are_logged(
    edge: Edge, data: bytes, status: int, target: str
) -> None:
    head, _, body = (await edge.raw(data)).partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    headers = dict(entry.split(b": ", 1) for entry in lines)
    assert line.split()[1] == b"%d" % status
    assert (headers[b"via"], headers[b"content-length"], body) == (b"1.1 fly.io", b"0", b"")
    assert headers[b"server"].startswith(b"Fly/")
    entry = edge.standin.context.log.entries()[-1]
    assert (entry.id, entry.status) == (headers[b"fly-request-id"].decode(), status)
    assert entry.target.startswith(target)
    assert entry.outcome.startswith("refused: ")


@pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\nX-Half: "])
async def test_a_head_that_does_not_end_is_408_and_the_connection_is_closed(start_edge: StartEdge, data: bytes) -> None:
    edge = await start_edge(head_timeout_s=0.2)
    assert (await edge.raw(data)).startswith(b"HTTP/1.1 408 ")
    assert edge.standin.context.log.entries()[-1].status == 408


async def test_the_head_timeout_of_fly_toml_goes_before_the_setting(start_edge: StartEdge) -> None:
    toml = "\n[http_service.http_options.response]\npristine = false\n"
    edge = await start_edge(head_timeout_s=3600, toml=toml, options="headers_read_timeout = 0.2")
    assert (await edge.raw(b"GET /")).startswith(b"HTTP/1.1 408 ")


async def test_a_slow_body_and_an_idle_connection_are_no_half_heads(start_edge: StartEdge) -> None:
    edge = await start_edge(head_timeout_s=1)  # long enough for a head on a busy machine
    reader, writer = await edge.connect()
    writer.write(b"POST /show HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
    await asyncio.sleep(1.2)
    writer.write(b"y")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    await asyncio.sleep(1.2)
    writer.write(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"HTTP/1.1 404 " in await reader.read()


async def test_an_unasked_101_is_502_and_leaves_no_load(start_edge: StartEdge) -> None:
    switch = (
        "import socket, sys\n"
        "s = socket.create_server((sys.argv[1], int(sys.argv[2])))\n"
        "while True:\n"
        "    c, _ = s.accept()\n"
        "    if c.recv(65536):\n"
        "        c.sendall(b'HTTP/1.1 101 Switching\\r\\nUpgrade: x\\r\\nConnection: Upgrade\\r\\n\\r\\nraw')\n"
    )
    edge = await start_edge(command=[sys.executable, "-c", switch, "{host}", "{port}"])
    async with edge.client() as client:
        assert (await client.get("/")).status_code == 502
    assert edge.machine.load == 0
    assert "without an upgrade" in edge.standin.context.log.entries()[-1].outcome
