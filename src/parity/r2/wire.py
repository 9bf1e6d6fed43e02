"""The two ends of an exchange: the request's body coming in, the reply going out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from parity.r2.body import ClientGone, Receive
from parity.r2.reply import Reply
from parity.r2.seen import Seen

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# A body that nobody wants is read up to here before the connection is closed instead.
MAX_DRAINED = 256 << 20


class Dropped(Exception):
    """A fault closed the connection."""


class Incoming:
    """The request's body on its way in: counted, and read to its end even when the answer is known before.

    An answer that leaves the body unread would leave the connection in the middle of a request; Cloudflare's edge
    reads it too.
    """

    def __init__(self, receive: Receive, seen: Seen) -> None:
        self._receive, self._seen, self._ended = receive, seen, False
        self._peeked: deque[Mapping[str, Any]] = deque()

    async def receive(self) -> Any:
        if self._peeked:
            return self._peeked.popleft()
        return await self._take()

    async def peek(self, most: int) -> bytes:
        """The body up to about ``most`` bytes; it is still there to be received."""
        while not self._ended and self._seen.bytes_in < most:
            message = await self._take()
            self._peeked.append(message)
            if message["type"] == "http.disconnect":
                break
        return b"".join(message.get("body", b"") for message in self._peeked)

    async def _take(self) -> Mapping[str, Any]:
        message = await self._receive()
        self._seen.bytes_in += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message

    async def drain(self) -> bool:
        """Whether the body came to its end; not when it is longer than anyone waits for."""
        while not self._ended and self._seen.bytes_in < MAX_DRAINED:
            if (await self._take())["type"] == "http.disconnect":
                raise ClientGone
        return self._ended


class Wire:
    """Sends a reply, cut where a fault says so."""

    def __init__(self, send: Send, connection: Any) -> None:
        self._send, self._connection = send, connection
        self.sent = 0

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    async def send(self, reply: Reply, extra: list[tuple[str, str]], cut: int | None) -> None:
        """``cut``: how much of the body is sent before the connection breaks."""
        headers = [(name.lower().encode("latin-1"), _wire_text(value)) for name, value in (*reply.headers, *extra)]
        headers.append((b"server", b"cloudflare"))
        if reply.status not in (204, 304):
            headers.append((b"content-length", b"%d" % reply.content_length))
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if isinstance(reply.body, bytes):
            await self._body(reply.body, cut, last=True)
            return
        async for block in reply.body:
            await self._body(block, cut, last=False)
        await self._send({"type": "http.response.body", "body": b""})

    async def _body(self, block: bytes, cut: int | None, *, last: bool) -> None:
        if cut is not None and self.sent + len(block) > cut:
            block = block[: cut - self.sent]
            self.sent += len(block)
            await self._send({"type": "http.response.body", "body": block, "more_body": True})
            # What was sent should arrive before the connection breaks.
            await asyncio.sleep(0)
            self.abort()
            raise Dropped
        self.sent += len(block)
        await self._send({"type": "http.response.body", "body": block, "more_body": not last})


def _wire_text(value: str) -> bytes:
    """UTF-8 without what would end the header."""
    return value.replace("\r", " ").replace("\n", " ").encode("utf-8", "replace")
