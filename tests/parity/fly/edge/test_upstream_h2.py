"""``h2_backend``: the app is spoken to in HTTP/2 without TLS."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.parity.fly.support import Edge, StartEdge

COMMAND = ["{python}", "h2app.py", "{host}", "{port}"]


@pytest.fixture
async def h2_edge(start_edge: StartEdge) -> Edge:
    return await start_edge(options="h2_backend = true", command=COMMAND)


@pytest.mark.parametrize("http2", [False, True])
async def test_requests_and_answers_pass_in_both_directions(h2_edge: Edge, http2: bool) -> None:
    async with h2_edge.client(http2=http2) as client:
        for size in (0, 10, 300_000):
            answer = await client.post("/a?b=c", content=b"y" * size, headers={"x-own": "1"})
            asked = answer.json()
            assert (answer.status_code, asked["size"]) == (200, size)
            headers = asked["headers"]
            assert (headers[":method"], headers[":path"], headers[":scheme"]) == ("POST", "/a?b=c", "http")
            assert headers[":authority"].startswith("localhost")
            assert (headers["x-own"], headers["fly-region"]) == ("1", "lax")
            assert not {"host", "connection", "transfer-encoding"} & set(headers)
        assert len((await client.get("/big")).content) == 1_000_000


async def test_many_at_once_are_answered_and_connections_are_used_again(h2_edge: Edge) -> None:
    async with h2_edge.client(http2=True) as client:
        for _ in range(3):
            answers = await asyncio.gather(*(client.post("/x", content=b"z" * 70_000) for _ in range(20)))
            assert {answer.json()["size"] for answer in answers} == {70_000}


async def test_an_early_answer_reaches_the_client_before_its_body_is_sent(h2_edge: Edge) -> None:
    async with h2_edge.client() as client:
        assert (await client.post("/early", content=b"z" * 5_000_000)).status_code == 413
        assert (await client.get("/")).status_code == 200


async def test_informational_answers_trailers_and_te_pass(h2_edge: Edge) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = await h2_edge.raw(head + b"3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n")
    first, _, rest = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 103 ")
    assert rest.startswith(b"HTTP/1.1 200 ")
    assert b"x-trailer: end" in rest
    asked = json.loads(rest[rest.index(b"{") : rest.rindex(b"}") + 1])
    assert (asked["size"], asked["trailers"], asked["headers"]["te"]) == (3, {"x-sum": "6"}, "trailers")


async def test_a_stream_that_the_app_resets_is_502_and_the_next_request_is_served(h2_edge: Edge) -> None:
    async with h2_edge.client() as client:
        assert (await client.get("/reset")).status_code == 502
        assert (await client.get("/")).status_code == 200


async def test_an_app_without_http2_gets_502_and_the_reason_is_told(start_edge: StartEdge) -> None:
    edge = await start_edge(options="h2_backend = true")
    async with edge.client() as client:
        assert (await client.get("/show")).status_code == 502
    assert "h2_backend" in (edge.standin.context.log.entries()[-1].outcome or "")


async def test_an_app_that_ends_cuts_the_answer(h2_edge: Edge) -> None:
    async with h2_edge.client() as client:
        assert (await client.get("/")).status_code == 200
        await h2_edge.machine.kill()
        assert (await client.get("/")).status_code == 200  # woken
