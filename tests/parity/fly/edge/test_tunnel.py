"""WebSockets through the edge."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.parity.fly.support import Edge, StartEdge, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from parity.fly.edge.tunnel import Tunnel
from parity.fly.machines.state import State


def open_socket(edge: Edge, path: str = "/ws") -> connect:
    return connect(edge.url.replace("https", "wss") + path, ssl=edge.tls(), max_size=None, open_timeout=60)


async def close_of(socket: ClientConnection) -> Any:
    with pytest.raises(ConnectionClosed) as caught:
        await drain(socket)
    return caught.value.rcvd


async def drain(socket: ClientConnection) -> None:
    async with asyncio.timeout(60):
        async for _ in socket:
            pass
        await socket.recv()


def test_goaway_in_the_middle_of_a_frame_waits_for_its_end_and_drops_what_follows() -> None:
    sent: list[bytes] = []
    codes: list[int] = []
    tunnel = Tunnel(sent.append, codes.append)
    tunnel.pass_on(b"\x82\x04ab")
    tunnel.goaway(1001)
    assert (sent, codes) == ([b"\x82\x04ab"], [])
    tunnel.pass_on(b"cd\x82\x01x")
    tunnel.pass_on(b"\x82\x01y")
    assert (sent[1:], codes) == ([b"cd", b"\x88\x02\x03\xe9"], [1001])


async def test_messages_of_every_size_pass_both_ways(edge: Edge) -> None:
    async with open_socket(edge) as socket:
        for size in (0, 125, 126, 65536, 3_000_000):
            await socket.send("x" * size)
            assert await socket.recv() == "x" * size
        await socket.send(b"\x00\xff")
        assert await socket.recv() == b"\x00\xff"


async def test_the_apps_close_code_and_reason_reach_the_client(edge: Edge) -> None:
    async with open_socket(edge) as socket:
        await socket.send("close")
        close = await close_of(socket)
    assert (close.code, close.reason) == (4002, "enough")


async def test_the_clients_close_code_and_reason_reach_the_app(edge: Edge) -> None:
    async with open_socket(edge) as socket:
        await socket.close(4321, "leaving")
    await until(lambda: _has(edge, "ws 4321 leaving"), "the app was told")


async def _has(edge: Edge, event: str) -> bool:
    return event in await edge.get("/events")


async def test_an_open_websocket_counts_as_load_until_it_is_closed(edge: Edge) -> None:
    async with open_socket(edge):
        assert (edge.machine.websockets, edge.machine.requests) == (1, 0)
    await until(lambda: edge.machine.load == 0, "its place is free")


async def test_stopping_a_machine_closes_its_websockets_with_1001(edge: Edge) -> None:
    async with open_socket(edge) as socket:
        stopping = asyncio.create_task(edge.machine.stop())
        close = await close_of(socket)
        await stopping
    assert close.code == 1001
    assert edge.machine.state is State.STOPPED
    assert [e.close_code for e in edge.standin.context.log.entries() if e.websocket] == [1001]


async def test_1001_does_not_tear_a_message_apart(start_edge: StartEdge) -> None:
    edge = await start_edge(cordon_s=60, kill_timeout=60)
    async with open_socket(edge) as socket:
        for _ in range(20):
            await socket.send("x" * 1_000_000)
        stopping = asyncio.create_task(edge.machine.stop())
        received: list[str | bytes] = []
        received += [message async for message in socket]  # ends at 1000 and 1001, raises at anything else
        await stopping
    assert socket.close_code == 1001
    assert {len(message) for message in received} <= {1_000_000}


async def test_the_close_code_of_a_stop_is_a_setting(start_edge: StartEdge) -> None:
    edge = await start_edge(goaway_code=1012)
    async with open_socket(edge) as socket:
        stopping = asyncio.create_task(edge.machine.stop())
        assert (await close_of(socket)).code == 1012
        await stopping


async def test_a_killed_machine_ends_the_connection_without_a_close_frame(edge: Edge) -> None:
    async with open_socket(edge) as socket:
        await edge.machine.kill()
        assert await close_of(socket) is None


async def test_a_websocket_wakes_a_stopped_machine(edge: Edge) -> None:
    await edge.machine.stop()
    async with open_socket(edge) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"


async def test_bytes_sent_before_the_101_reach_the_app(edge: Edge) -> None:
    reader, writer = await edge.connect()
    frame = bytes((0x81, 0x82, 0, 0, 0, 0)) + b"hi"
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" + frame
    )
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert await reader.readexactly(4) == b"\x81\x02hi"
    writer.transport.abort()


async def test_a_suspend_sends_the_close_frame_too(edge: Edge) -> None:
    async with open_socket(edge) as socket:
        await socket.send("hello")
        await socket.recv()
        await edge.machine.suspend()
        assert (await close_of(socket)).code == 1001
    assert edge.machine.state is State.SUSPENDED
