"""A TCP proxy in front of one service. Machines connect to it, and a check can make the service unreachable.

It handles only connections, so it works for processes, for containers and for any protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from enum import StrEnum
from functools import partial

_CHUNK = 65536


class Mode(StrEnum):
    """What the proxy does. ``AWAY``: refuses connections and cuts open ones. ``SILENT``: accepts new connections but
    never answers; open ones keep working. ``FROZEN``: holds all data of all connections, and delivers it afterwards."""

    HERE = "here"
    AWAY = "away"
    SILENT = "silent"
    FROZEN = "frozen"


class Proxy:
    """Listens on ``host:port`` from ``open`` to ``close``; ``upstream`` is the service's own address."""

    def __init__(self, host: str, port: int, upstream: tuple[str, int]) -> None:
        self.host, self.port, self.upstream = host, port, upstream
        self.mode = Mode.HERE
        self._passing = asyncio.Event()
        self._passing.set()
        self.accepted = 0  # connections since the start, so that a check can tell that the app uses the service
        self._server: asyncio.Server | None = None
        # The time (of the event loop) at which bytes last went over each open connection.
        self._connections: dict[asyncio.Task[None], float] = {}

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    @property
    def idle_s(self) -> list[float]:
        """For each open connection, the seconds since bytes last went over it."""
        now = asyncio.get_running_loop().time()
        return [now - last for last in self._connections.values()]

    async def open(self) -> None:
        """Raises ``OSError`` when the port is taken."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, self.host, self.port)
            self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        await self._stop_listening()
        await self.cut()

    async def set(self, mode: Mode) -> None:
        """Returns once new connections meet ``mode``; a service that goes away takes its connections along."""
        self.mode = mode
        if mode is Mode.FROZEN:
            self._passing.clear()
        else:
            self._passing.set()
        if mode is Mode.AWAY:
            await self.close()
        else:
            await self.open()

    async def cut(self) -> int:
        """Cut every open connection, as a server does that ends idle ones; returns how many there were."""
        cut = list(self._connections)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        return len(cut)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a server's callback runs in a task")
        self.accepted += 1
        self._used(task)
        try:
            await self._serve(reader, writer, partial(self._used, task))
        except asyncio.CancelledError:
            writer.transport.abort()  # a cut connection ends at once: nothing that is buffered still arrives
        finally:
            writer.close()
            self._connections.pop(task, None)

    def _used(self, connection: asyncio.Task[None]) -> None:
        self._connections[connection] = asyncio.get_running_loop().time()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, used: Callable[[], None]
    ) -> None:
        if self.mode is Mode.SILENT:
            while await reader.read(_CHUNK):
                pass
            return
        await self._passing.wait()
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self.upstream)
        except OSError:
            writer.transport.abort()  # the service itself is not there
            return
        both = (
            asyncio.create_task(self._copy(reader, upstream_writer, used)),
            asyncio.create_task(self._copy(upstream_reader, writer, used)),
        )
        try:
            await asyncio.gather(*both)
        finally:
            for task in both:
                task.cancel()
            upstream_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, used: Callable[[], None]) -> None:
        """Until the reader ends; its end is passed on, so that half-closed connections work."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                used()
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
