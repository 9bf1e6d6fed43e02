"""One fixed port for debuggers. A debugger that connects is forwarded to a debugged process, or waits for one.

The port in an editor's configuration can stay the same, although processes change: a Machine restarts after each edit,
and a function may get a new process for a call. While a debugger is connected, the program may be stopped at a
breakpoint, so timeouts do not expire.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

Address = tuple[str, int]
LOOK_S = 0.05
_CHUNK = 65536


class Relay:
    """``targets`` gives the addresses of the processes that can be debugged now, the preferred one first. ``shared``:
    several debuggers may use one address, because another relay listens there."""

    def __init__(self, targets: Callable[[], Sequence[Address]], *, shared: bool = False) -> None:
        self._targets, self._shared = targets, shared
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: dict[Address, asyncio.StreamWriter] = {}
        self._waiting: set[asyncio.StreamWriter] = set()

    @property
    def attached(self) -> bool:
        """Whether a debugger is connected to a process."""
        return bool(self._busy)

    @property
    def waiting(self) -> int:
        """How many debuggers wait for a process."""
        return len(self._waiting)

    def serves(self, target: Address) -> bool:
        """Whether this process has a debugger."""
        return target in self._busy

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises ``OSError`` when it is taken."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, host, port)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def close(self) -> None:
        """Stop listening and disconnect from every process. The processes keep running."""
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def let_go(self, target: Address) -> None:
        """Disconnect the debugger of one process: what it stopped runs on."""
        if writer := self._busy.get(target):
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # either end went away, or this server closes: nothing is left to do
        finally:
            self._tasks.discard(task)
            await _closed(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A debugger speaks first. A connection that sends nothing tests whether the port is open, and gets no process.
        first = await reader.read(_CHUNK)
        if not first:
            return
        self._waiting.add(writer)
        try:
            while not reader.at_eof():
                for target in self._targets():
                    if (self._shared or target not in self._busy) and await self._joined(target, first, reader, writer):
                        return
                await asyncio.sleep(LOOK_S)
        finally:
            self._waiting.discard(writer)

    async def _joined(
        self, target: Address, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Join a debugger and a process until either goes; ``False`` when the process does not listen."""
        self._busy[target] = writer  # before anything is waited for: another debugger looks for a process too
        try:
            try:
                to_reader, to_writer = await asyncio.open_connection(*target)
            except OSError:
                return False
            self._waiting.discard(writer)
            try:
                to_writer.write(first)
                await _both(_pump(reader, to_writer), _pump(to_reader, writer))
            finally:
                await _closed(to_writer)
        finally:
            if self._busy.get(target) is writer:
                del self._busy[target]
        return True


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def _both(*pumps: object) -> None:
    """Until one direction ends: a debugger's connection is of no use in one direction."""
    tasks = [asyncio.ensure_future(pump) for pump in pumps]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
