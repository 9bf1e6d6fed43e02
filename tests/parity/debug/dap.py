"""A debug client that speaks the Debug Adapter Protocol over a socket, as an editor does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

# Attaching asks a busy machine for seconds; nothing here waits so long when all is well.
PATIENCE_S = 60


class Client:
    """One session. Events that nobody has waited for yet are kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._sent = 0
        self._events: list[dict[str, Any]] = []

    def send(self, command: str, **arguments: Any) -> int:
        self._sent += 1
        body = json.dumps({"seq": self._sent, "type": "request", "command": command, "arguments": arguments}).encode()
        self._writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return self._sent

    async def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        return await self.answer(self.send(command, **arguments))

    async def answer(self, number: int) -> dict[str, Any]:
        found = await self._read(lambda m: m["type"] == "response" and m["request_seq"] == number)
        assert found["success"], found
        body: dict[str, Any] = found.get("body") or {}
        return body

    async def event(self, name: str) -> dict[str, Any]:
        for kept in self._events:
            if kept["event"] == name:
                self._events.remove(kept)
                return kept
        return await self._read(lambda m: m["type"] == "event" and m["event"] == name)

    async def _read(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                head = await self._reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split()[0])
                message: dict[str, Any] = json.loads(await self._reader.readexactly(length))
                if wanted(message):
                    return message
                if message["type"] == "event":
                    self._events.append(message)

    async def where(self) -> tuple[str, int]:
        """The file and line where the program is stopped; waits until it is."""
        stopped = await self.event("stopped")
        self.thread = stopped["body"]["threadId"]
        frames = await self.ask("stackTrace", threadId=self.thread, startFrame=0, levels=1)
        frame = frames["stackFrames"][0]
        return frame["source"]["path"], frame["line"]

    async def go_on(self) -> None:
        await self.ask("continue", threadId=self.thread)


@asynccontextmanager
async def attached(port: int, file: Path, line: int, **attach: Any) -> AsyncIterator[Client]:
    """A session with one breakpoint, once the program has it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        client = Client(reader, writer)
        await client.ask("initialize", adapterID="test", linesStartAt1=True, columnsStartAt1=True, pathFormat="path")
        number = client.send("attach", justMyCode=False, **attach)
        await client.event("initialized")
        await client.ask("setBreakpoints", source={"path": str(file)}, breakpoints=[{"line": line}])
        await client.ask("configurationDone")
        await client.answer(number)
        yield client
    finally:
        writer.close()


def line_of(file: Path, text: str) -> int:
    """The number of the first line that holds ``text``."""
    return next(n for n, line in enumerate(file.read_text().splitlines(), 1) if text in line)
