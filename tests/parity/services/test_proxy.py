"""The proxy in front of a service: what a connection meets in each mode."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from parity.services.proxy import Mode, Proxy


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that echoes."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data.upper())
            await writer.drain()
        writer.write(b"END")
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    found = Proxy("127.0.0.1", 0, (address[0], address[1]))
    await found.open()
    yield found
    for writer in OPEN:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    OPEN.clear()
    await found.close()
    server.close()


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
# How a reader meets a connection that ended: reset, or no more bytes.
CUT = (ConnectionError, asyncio.IncompleteReadError)
OPEN: list[asyncio.StreamWriter] = []


async def connected(proxy: Proxy) -> Connection:
    """A connection that the fixture closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    OPEN.append(writer)
    return reader, writer


async def test_bytes_go_both_ways_and_an_end_is_passed_on(proxy: Proxy) -> None:
    reader, writer = await connected(proxy)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"HELLO"
    writer.write_eof()
    assert await reader.read() == b"END"
    assert proxy.accepted == 1


async def test_a_service_that_is_away_refuses_and_takes_its_connections_along(proxy: Proxy) -> None:
    reader, writer = await connected(proxy)
    writer.write(b"a")
    await reader.readexactly(1)
    await proxy.set(Mode.AWAY)
    with pytest.raises(CUT):
        await reader.readexactly(1)
    with pytest.raises(ConnectionRefusedError):
        await connected(proxy)
    await proxy.set(Mode.HERE)
    reader, writer = await connected(proxy)
    writer.write(b"b")
    assert await reader.readexactly(1) == b"B"


async def test_open_connections_are_cut_and_new_ones_work(proxy: Proxy) -> None:
    reader, writer = await connected(proxy)
    writer.write(b"a")
    await reader.readexactly(1)
    assert await proxy.cut() == 1
    with pytest.raises(CUT):
        await reader.readexactly(1)
    assert proxy.connections == 0
    reader, writer = await connected(proxy)
    writer.write(b"b")
    assert await reader.readexactly(1) == b"B"


async def test_a_silent_service_accepts_and_never_answers(proxy: Proxy) -> None:
    await proxy.set(Mode.SILENT)
    reader, writer = await connected(proxy)
    writer.write(b"a")
    await writer.drain()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.2)


async def test_a_frozen_service_answers_late_on_open_and_on_new_connections(proxy: Proxy) -> None:
    old = await connected(proxy)
    await proxy.set(Mode.FROZEN)
    new = await connected(proxy)
    for _, writer in (old, new):
        writer.write(b"a")
    for reader, _ in (old, new):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
    await proxy.set(Mode.HERE)
    assert [await reader.readexactly(1) for reader, _ in (old, new)] == [b"A", b"A"]


async def test_a_service_that_is_not_there_is_no_answer(proxy: Proxy) -> None:
    proxy.upstream = ("127.0.0.1", 1)
    reader, _writer = await connected(proxy)
    with pytest.raises(CUT):
        await reader.readexactly(1)


async def test_an_open_connection_is_idle_since_its_last_bytes(proxy: Proxy) -> None:
    assert proxy.idle_s == []
    reader, writer = await connected(proxy)
    async with asyncio.timeout(60):
        while not proxy.idle_s or proxy.idle_s[0] < 0.05:  # noqa: ASYNC110  # nothing happens that could be awaited
            await asyncio.sleep(0.01)
        before, asked = proxy.idle_s[0], asyncio.get_running_loop().time()
        writer.write(b"hello")
        await reader.readexactly(5)
    assert before >= 0.05
    assert proxy.idle_s[0] <= asyncio.get_running_loop().time() - asked
    await proxy.cut()
    assert proxy.idle_s == []
