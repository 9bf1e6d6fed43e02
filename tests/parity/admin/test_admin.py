import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.ports import free_ports
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from parity.admin.app import http_exception_as_problem, read_object, serving
from parity.admin.gateway import gateway_routes


async def echo(request: Request) -> JSONResponse:
    body = await read_object(request, {"a"})
    return JSONResponse({"path": request.url.path, "query": request.url.query, "body": body})


APP = Starlette(
    routes=[Route("/r2/{path:path}", echo, methods=["GET", "POST"])],
    exception_handlers={HTTPException: http_exception_as_problem},
)


@pytest.fixture
async def gateway() -> AsyncIterator[httpx.AsyncClient]:
    """A gateway in front of ``APP`` and of a stand-in that is not there."""
    (closed,) = free_ports(1)
    async with serving(APP, "127.0.0.1", 0) as port:
        routes = gateway_routes({"r2": f"http://127.0.0.1:{port}", "modal": f"http://127.0.0.1:{closed}"})
        async with (
            serving(Starlette(routes=routes), "127.0.0.1", 0) as front,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{front}", trust_env=False, timeout=60) as client,
        ):
            yield client


async def test_the_gateway_passes_path_query_and_body_on(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.post("/r2/objects?prefix=a%2Fb", json={"a": 1})
    assert answer.json() == {"path": "/r2/objects", "query": "prefix=a%2Fb", "body": {"a": 1}}


async def test_a_stand_in_that_is_gone_is_a_502_that_names_it(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.get("/modal/calls")
    assert answer.status_code == 502
    assert "modal" in answer.json()["title"]


@pytest.mark.parametrize(
    ("body", "said"), [(b"{", "not JSON"), (b"[]", "JSON object"), (b'{"b": 1}', "unknown field b")]
)
async def test_a_wrong_body_is_a_400_that_says_what(gateway: httpx.AsyncClient, body: bytes, said: str) -> None:
    answer = await gateway.post("/r2/faults", content=body)
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


async def test_a_taken_port_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        async with serving(APP, "127.0.0.1", taken.getsockname()[1]):
            pass


async def test_answers_are_sent_at_once_and_do_not_wait_for_acknowledgements() -> None:
    options: list[int] = []

    class Noting(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            connection = transport.get_extra_info("socket")
            options.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            super().connection_made(transport)  # type: ignore[arg-type]

    async with (
        serving(APP, "127.0.0.1", 0, http=Noting) as port,
        httpx.AsyncClient(trust_env=False, timeout=60) as client,
    ):
        assert (await client.get(f"http://127.0.0.1:{port}/r2/x", params={"a": "1"})).is_success
    assert options
    assert all(options)


async def test_an_idle_connection_is_kept_for_longer_than_clients_use_it() -> None:
    """A POST on a connection that the server is closing fails, and must not be repeated: it may have had its effect."""
    kept: list[float] = []

    class Noting(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            kept.append(self.timeout_keep_alive)
            super().connection_made(transport)  # type: ignore[arg-type]

    async with (
        serving(APP, "127.0.0.1", 0, http=Noting) as port,
        httpx.AsyncClient(trust_env=False, timeout=60) as client,
    ):
        assert (await client.get(f"http://127.0.0.1:{port}/r2/x")).is_success
    expiry = httpx.Limits().keepalive_expiry
    assert expiry is not None
    assert kept[0] > 2 * expiry


async def test_a_stand_in_that_accepts_late_is_waited_for() -> None:
    """For 2.5 s the queue of connections is full, so the kernel drops new ones, as on a busy computer."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the one that filled the queue
        finally:
            writer.close()

    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening, socket.socket() as queued:
        address = listening.getsockname()
        queued.connect(address)  # the queue has room for one
        app = Starlette(routes=gateway_routes({"r2": f"http://127.0.0.1:{address[1]}"}))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://admin") as client:
            asked = asyncio.create_task(client.get("/r2/faults"))
            done, _ = await asyncio.wait([asked], timeout=2.5)
            assert not done, asked.result().text
            async with await asyncio.start_server(serve, sock=listening):
                assert (await asked).status_code == 200
