"""One port for a debugger, whatever process is there to be debugged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.parity.fly.support import until

from parity.debug.relay import Address, Relay


@asynccontextmanager
async def program(says: bytes) -> AsyncIterator[Address]:
    """A process that listens for a debugger: it says what it is and repeats what it is sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        while data := await reader.read(100):
            writer.write(data)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()


async def test_a_debugger_that_comes_first_waits_for_the_process() -> None:
    there: list[Address] = []
    relay = Relay(lambda: there)
    port = await relay.open("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"!")
    async with program(b"one") as address:
        await until(lambda: relay.waiting == 1, "the debugger waits")
        assert not relay.attached
        there.append(address)
        assert await reader.readexactly(4) == b"one!"
        assert relay.attached
        assert relay.serves(address)
        assert relay.waiting == 0
        relay.let_go(address)
        assert await reader.read() == b""
    writer.close()
    await relay.close()


async def test_two_debuggers_get_two_processes() -> None:
    async with program(b"one") as one, program(b"two") as two:
        relay = Relay(lambda: [one, two])
        port = await relay.open("127.0.0.1", 0)
        sessions = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for _, writer in sessions:
            writer.write(b"!")
        assert {await reader.readexactly(3) for reader, _ in sessions} == {b"one", b"two"}
        for _, writer in sessions:
            writer.close()
        await relay.close()
    assert not relay.attached


async def test_a_look_whether_the_port_is_open_takes_no_process() -> None:
    async with program(b"one") as one:
        relay = Relay(lambda: [one])
        port = await relay.open("127.0.0.1", 0)
        _, look = await asyncio.open_connection("127.0.0.1", port)
        look.close()
        await look.wait_closed()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"!")
        assert await reader.readexactly(4) == b"one!"
        writer.close()
        await relay.close()


async def test_a_debugger_that_goes_while_it_waits_takes_no_process() -> None:
    there: list[Address] = []
    relay = Relay(lambda: there)
    port = await relay.open("127.0.0.1", 0)
    _, gone = await asyncio.open_connection("127.0.0.1", port)
    gone.write(b"?")
    gone.close()
    await gone.wait_closed()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"!")
    async with program(b"one") as one:
        there.append(one)
        assert await reader.readexactly(4) == b"one!"
    writer.close()
    await relay.close()


async def test_a_port_is_free_again_when_debugging_ends() -> None:
    relay = Relay(lambda: [])
    port = await relay.open("127.0.0.1", 0)
    await relay.close()
    assert await relay.open("127.0.0.1", port) == port
    await relay.close()
