"""The proxy before a Machine: it forwards faithfully, breaks what it is told to, and is gone when it is taken away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from parity.admin.app import serving
from parity.fly.interposer import BadWrap, Interposer, WrapSpec, parse_wraps

Machine = tuple[str, int]


def app() -> Starlette:
    kept: list[str] = []

    async def echo(request: Request) -> Response:
        body = (await request.body()).decode()
        return JSONResponse(
            {"method": request.method, "url": str(request.url), "body": body, "headers": dict(request.headers)},
            headers={"access-control-allow-origin": "https://page.example", "x-own": "1"},
        )

    async def texts(request: Request) -> Response:
        if request.method == "POST":
            kept.append((await request.body()).decode())
            return JSONResponse({"kept": kept[-1]}, 201)
        if "fails" in request.query_params:
            return JSONResponse({"title": "away"}, 503, headers={"access-control-allow-origin": "*"})
        return JSONResponse(kept)

    async def many(_request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for number in range(3):
                yield str(number).encode()

        return StreamingResponse(pieces())

    async def missing(_request: Request) -> Response:
        return JSONResponse({}, 404, headers={"access-control-allow-origin": "*"})

    every = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
    return Starlette(
        routes=[
            Route("/echo", echo, methods=every),
            Route("/texts", texts, methods=["GET", "POST"]),
            Route("/many", many),
            Route("/missing", missing),
        ]
    )


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    async with serving(app(), "127.0.0.1", 0) as port:
        yield "127.0.0.1", port


@pytest.fixture
async def interposer() -> AsyncIterator[Interposer]:
    made = Interposer()
    yield made
    await made.close()


async def client(interposer: Interposer, machine: Machine, *wraps: tuple[str, dict[str, Any]]) -> httpx.AsyncClient:
    await interposer.set([WrapSpec(name, settings) for name, settings in wraps])
    host, port = await interposer.address(machine, websocket=False)
    return httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False, timeout=60)


async def test_without_wraps_nothing_stands_between(interposer: Interposer, machine: Machine) -> None:
    assert await interposer.address(machine, websocket=False) == machine


async def test_requests_and_answers_pass_as_they_are(interposer: Interposer, machine: Machine) -> None:
    async with await client(interposer, machine, ("slow", {"seconds": 0})) as http:
        answer = await http.put("/echo?a=1&b=%20x", content=b"body", headers={"X-Asked": "yes", "Host": "app.example"})
        streamed = await http.get("/many")
        head = await http.head("/echo")
    said = answer.json()
    assert (said["method"], said["body"], said["headers"]["x-asked"]) == ("PUT", "body", "yes")
    assert said["url"] == "http://app.example/echo?a=1&b=%20x"
    assert (answer.headers["x-own"], streamed.text, head.status_code) == ("1", "012", 200)


async def test_a_chunked_body_is_forwarded_whole(interposer: Interposer, machine: Machine) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with await client(interposer, machine, ("slow", {"seconds": 0})) as http:
        assert (await http.post("/echo", content=pieces())).json()["body"] == "one two"


async def test_errors_lose_their_cors_headers_and_good_answers_keep_them(
    interposer: Interposer, machine: Machine
) -> None:
    async with await client(interposer, machine, ("errors_without_cors", {})) as http:
        assert "access-control-allow-origin" not in (await http.get("/missing")).headers
        assert "access-control-allow-origin" in (await http.get("/echo")).headers


async def test_a_failed_read_is_shown_as_empty(interposer: Interposer, machine: Machine) -> None:
    async with await client(interposer, machine, ("failure_as_empty", {"nothing": []})) as http:
        answer = await http.get("/texts?fails=1")
    assert (answer.status_code, answer.json()) == (200, [])


async def test_reads_come_from_a_first_copy(interposer: Interposer, machine: Machine) -> None:
    async with await client(interposer, machine, ("first_answer_kept", {})) as http:
        assert (await http.get("/texts", headers={"X-User": "a"})).json() == []
        await http.post("/texts", content=b"w1")
        assert (await http.get("/texts", headers={"X-User": "a"})).json() == []
        assert (await http.get("/texts", headers={"X-User": "b"})).json() == ["w1"]


async def test_what_a_proxy_had_yet_to_store_is_lost_when_it_is_taken_away(
    interposer: Interposer, machine: Machine
) -> None:
    async with await client(interposer, machine, ("answered_early", {"seconds": 60})) as http:
        for text in (b"stored", b"later"):
            assert (await http.post("/texts", content=text)).status_code == 201
    async with await client(interposer, machine, ("slow", {"seconds": 0})) as http:
        assert (await http.get("/texts")).json() == ["stored"]


async def test_a_machine_that_is_gone_is_a_bad_gateway(interposer: Interposer) -> None:
    async with await client(interposer, ("127.0.0.1", 1), ("slow", {"seconds": 0})) as http:
        assert (await http.get("/echo")).status_code == 502


async def test_sockets_go_past_wraps_that_are_not_about_them(interposer: Interposer, machine: Machine) -> None:
    await interposer.set([WrapSpec("errors_without_cors", {})])
    assert await interposer.address(machine, websocket=True) == machine
    await interposer.set([WrapSpec("sockets_refused", {})])
    assert await interposer.address(machine, websocket=True) != machine


async def test_a_socket_that_opens_for_anyone_says_what_others_write(interposer: Interposer, machine: Machine) -> None:
    async with await client(interposer, machine, ("sockets_tell_writes", {})) as http:
        url = f"ws://{http.base_url.host}:{http.base_url.port}/live"
        await http.post("/texts", content=b"before")
        async with websockets.connect(url, proxy=None, open_timeout=60) as socket:
            assert (await http.post("/texts", content=b"w1")).status_code == 201
            assert await asyncio.wait_for(socket.recv(), 60) == "w1"
        assert (await http.get("/texts")).json() == ["before", "w1"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("x", "a list of"), ([1], "is not {name, settings}"), ([{"name": "kors"}], "there is no 'kors'; known: ")],
)
def test_a_wrap_that_there_is_not_is_refused(wanted: object, said: str) -> None:
    with pytest.raises(BadWrap, match=said):
        parse_wraps(wanted)
