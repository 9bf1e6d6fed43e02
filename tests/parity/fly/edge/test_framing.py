"""Framing that ASGI servers do not produce: bodies that end with the connection, trailers, 1xx, nonsense."""

from __future__ import annotations

import httpx
import pytest
from h2.events import InformationalResponseReceived, StreamEnded, TrailersReceived
from tests.parity.fly.edge.test_http2 import Raw, status
from tests.parity.fly.support import Edge, StartEdge

GET = b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def raw_edge(start_edge: StartEdge) -> Edge:
    return await start_edge(command=["{python}", "raw.py", "{host}", "{port}"])


async def test_a_body_that_ends_with_the_connection_arrives_whole_and_is_marked_as_ended(raw_edge: Edge) -> None:
    head, _, body = (await raw_edge.raw(GET % b"/eof")).partition(b"\r\n\r\n")
    assert b"X-CaSe: 1\r\n" in head
    assert b"Server: raw" not in head
    assert body == b"d\r\nuntil the end\r\n0\r\n\r\n"
    async with raw_edge.client(http2=True) as client:
        assert (await client.get("/eof")).content == b"until the end"


async def test_trailers_reach_an_http_1_1_client(raw_edge: Edge) -> None:
    assert (await raw_edge.raw(GET % b"/trailers")).endswith(b"4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n")


async def test_trailers_reach_an_http_2_client(raw_edge: Edge) -> None:
    async with Raw(raw_edge) as raw:
        raw.request("/trailers")
        events = await raw.events(StreamEnded)
    (trailers,) = [event for event in events if isinstance(event, TrailersReceived)]
    assert list(trailers.headers) == [(b"x-sum", b"42")]


async def test_a_requests_trailers_reach_the_app(raw_edge: Edge) -> None:
    data = b"POST /request HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await raw_edge.raw(data + b"2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n")
    assert answer.endswith(b"2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n")


async def test_early_hints_are_passed_on_before_the_answer(raw_edge: Edge) -> None:
    answer = await raw_edge.raw(GET % b"/hints")
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\n")
    assert b"Link: </a.css>\r\n" in answer
    assert answer.endswith(b"\r\n\r\nok")


async def test_early_hints_on_http_2_are_followed_by_the_answer(raw_edge: Edge) -> None:
    async with Raw(raw_edge) as raw:
        raw.request("/hints")
        events = await raw.events(StreamEnded)
    assert any(isinstance(event, InformationalResponseReceived) for event in events)
    assert status(events) == "200"


async def test_an_answer_that_is_not_http_is_502(raw_edge: Edge) -> None:
    assert (await raw_edge.raw(GET % b"/garbage")).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")


async def test_a_body_shorter_than_announced_is_cut_never_completed(raw_edge: Edge) -> None:
    for http2 in (False, True):
        async with raw_edge.client(http2=http2) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/short")
