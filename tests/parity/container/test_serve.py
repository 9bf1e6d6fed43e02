"""The main process of the dev container, with an engine of a few lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_ports

from parity.container.dev.serve import Engine, Ports, keep_ports, keep_trust, published

Container = dict[str, Any]


def container(service: str, networks: dict[str, str], *ports: tuple[int, int]) -> Container:
    """As the engine lists one; ``ports`` are pairs of published and private."""
    return {
        "Labels": {"com.docker.compose.service": service},
        "NetworkSettings": {"Networks": {name: {"IPAddress": address} for name, address in networks.items()}},
        "Ports": [{"IP": "127.0.0.1", "PublicPort": p, "PrivatePort": q, "Type": "tcp"} for p, q in ports],
    }


@pytest.fixture
def unused_tcp_port() -> int:
    """Instead of pytest-asyncio's, which the system may give to another connection before it is used."""
    return free_ports(1)[0]


@pytest.fixture(autouse=True)
async def connections_end() -> AsyncIterator[None]:
    """Wait until what a test has opened is closed at both ends."""
    yield
    others = asyncio.all_tasks() - {task for task in [asyncio.current_task()] if task}
    if others:
        await asyncio.wait(others, timeout=60)
    await asyncio.sleep(0)


DEV = container("dev", {"app_machines": "10.0.0.9", "app_public": "10.0.1.9"})


def test_a_published_port_leads_to_the_container_by_a_network_that_the_editor_is_on_too() -> None:
    fly = container("fly", {"elsewhere": "10.9.9.2", "app_machines": "10.0.0.2"}, (18443, 443), (18080, 80))
    assert published([DEV, fly]) == {18443: ("10.0.0.2", 443), 18080: ("10.0.0.2", 80)}


def test_what_is_not_published_or_out_of_reach_has_no_port() -> None:
    exposed = container("r2", {"app_machines": "10.0.0.3"})
    exposed["Ports"] = [{"PrivatePort": 9091, "Type": "tcp"}, {"PublicPort": 53, "PrivatePort": 53, "Type": "udp"}]
    assert published([DEV, exposed, container("fly", {"other": "10.9.9.2"}, (18443, 443))]) == {}
    assert published([container("fly", {"app_machines": "10.0.0.2"}, (18443, 443))]) == {}


@asynccontextmanager
async def listening(answer: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """A server that reads until its client has ended, and only then answers."""

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(answer(await reader.read()))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def call(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


async def until(reached: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await reached():  # noqa: ASYNC110  # asks what has no event
            await asyncio.sleep(0.02)


async def refuses(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it closed before it had accepted
        return True
    writer.close()
    return False


async def accepts(port: int) -> bool:
    return not await refuses(port)


async def test_a_port_passes_both_directions_on_and_one_may_end_before_the_other(unused_tcp_port: int) -> None:
    async with listening(lambda data: data[::-1]) as behind:
        ports = Ports()
        await ports.follow({unused_tcp_port: ("127.0.0.1", behind)})
        large = bytes(range(256)) * 4096
        assert await call(unused_tcp_port, large) == large[::-1]
        await ports.follow({})
        assert await refuses(unused_tcp_port)


async def test_a_part_that_does_not_answer_closes_the_connection_and_not_the_port(unused_tcp_port: int) -> None:
    ports = Ports()
    async with listening(lambda data: data) as behind:
        pass
    await ports.follow({unused_tcp_port: ("127.0.0.1", behind)})
    with contextlib.suppress(OSError):
        assert await call(unused_tcp_port, b"x") == b""
    async with listening(lambda data: data) as behind:
        await ports.follow({unused_tcp_port: ("127.0.0.1", behind)})
        assert await call(unused_tcp_port, b"moved") == b"moved"
    await ports.follow({})


async def test_a_port_that_something_else_has_is_left_to_it_and_taken_later(unused_tcp_port: int) -> None:
    ports = Ports()
    other = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", unused_tcp_port)
    async with listening(lambda data: data) as behind:
        await ports.follow({unused_tcp_port: ("127.0.0.1", behind)})
        other.close()
        await other.wait_closed()
        await ports.follow({unused_tcp_port: ("127.0.0.1", behind)})
        assert await call(unused_tcp_port, b"mine") == b"mine"
    await ports.follow({})


class SmallEngine:
    """The two questions of ``Engine``, answered on a socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.containers: list[Container] = []
        self.asked: list[str] = []
        self._watchers: list[asyncio.StreamWriter] = []

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0]
        self.asked.append(line)
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n")
        if "/events?" in line:
            await writer.drain()
            self._watchers.append(writer)
            await reader.read()  # until one side closes; this one may have been accepted after the last hang_up
        else:
            writer.write(json.dumps(self.containers).encode())
        writer.close()

    def say(self, containers: list[Container]) -> None:
        """These run now."""
        self.containers = containers
        for writer in self._watchers:
            writer.write(b'{"Action": "start"}\n')

    def hang_up(self) -> None:
        while self._watchers:
            self._watchers.pop().close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._accepted, self.socket)
        async with server:
            yield
            self.hang_up()


async def test_ports_open_and_close_with_the_stack_and_come_back_with_the_engine(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    engine = SmallEngine(tmp_path / "engine.sock")
    async with listening(lambda data: data.upper()) as behind:
        stack = [DEV, container("fly", {"app_machines": "127.0.0.1"}, (unused_tcp_port, behind))]
        # It is begun before there is an engine.
        task = asyncio.create_task(keep_ports(Engine("app", str(engine.socket)), Ports(), retry_s=0.05))
        async with engine.running():
            await until(lambda: answered(engine))
            assert await refuses(unused_tcp_port)
            engine.say(stack)
            await until(lambda: accepts(unused_tcp_port))
            assert await call(unused_tcp_port, b"api") == b"API"
            engine.say([DEV])
            await until(lambda: refuses(unused_tcp_port))
            engine.say(stack)
            await until(lambda: accepts(unused_tcp_port))
            engine.hang_up()
            engine.containers = [DEV]
            await until(lambda: refuses(unused_tcp_port))
            engine.containers = stack
            engine.hang_up()
            await until(lambda: accepts(unused_tcp_port))
        assert all("com.docker.compose.project%3Dapp" in line for line in engine.asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_question_to_the_engine_that_is_given_up_leaves_no_connection(tmp_path: Path) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        assert await reader.read() == b""  # until the other side closes
        ended.set()
        writer.close()

    async with await asyncio.start_unix_server(silent, tmp_path / "engine.sock"):
        task = asyncio.create_task(Engine("app", str(tmp_path / "engine.sock")).containers())
        async with asyncio.timeout(60):
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # Without a close the connection would end when the garbage collector finds it, with a warning.
            await ended.wait()


async def answered(engine: SmallEngine) -> bool:
    return any("/containers/json" in line for line in engine.asked)


async def test_a_new_ca_of_the_stack_is_trusted_once_until_the_next_one(tmp_path: Path) -> None:
    ca, trusted, runs = tmp_path / "ca.pem", tmp_path / "trusted.pem", tmp_path / "runs"
    trust = tmp_path / "trust.py"
    trust.write_text(
        "import pathlib, shutil\n"
        f"with open({str(runs)!r}, 'a') as file: file.write(pathlib.Path({str(ca)!r}).read_text())\n"
        f"shutil.copy({str(ca)!r}, {str(trusted)!r})\n"
    )
    task = asyncio.create_task(keep_trust(ca, trusted, trust, look_s=0.02))
    ca.write_text("first ")
    trusted.write_text("")  # adopt-owner was here before there was a CA

    async def seen(text: str) -> bool:
        return trusted.read_text() == text

    await until(lambda: seen("first "))
    ca.write_text("second ")
    await until(lambda: seen("second "))
    task.cancel()
    assert runs.read_text() == "first second "
