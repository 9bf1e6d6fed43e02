"""The two ends of an exchange: the request's body coming in, the reply going out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from parity.r2.body import Receive
from parity.r2.errors import request_timeout
from parity.r2.reply import Reply
from parity.r2.seen import Seen

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# How long a client may take to send the rest of a body that was refused, in seconds.
DISCARD_SECONDS = 600.0
# So many bytes are sent before others have a turn.
TURN = 2 << 20


class Dropped(Exception):
    """The connection ended before the answer did: a fault closed it, or the client."""


class Incoming:
    """The request's body on its way in, counted.

    An answer may be known before the body has come. It is sent then, and what still comes is taken in and forgotten:
    most clients look for an answer when they have sent all, and a connection that is closed under them loses it.
    """

    def __init__(self, receive: Receive, seen: Seen, stall: float) -> None:
        self._receive, self._seen, self._stall = receive, seen, stall
        # Whether the client sent nothing for ``stall`` seconds in the middle of the body.
        self.stalled = False
        # Whether the client was asked for the body (uvicorn says `100 Continue` to who waits for it), and all is in.
        self.begun = self.ended = False
        self._peeked: list[Mapping[str, Any]] = []

    async def receive(self) -> Any:
        if self._peeked:
            return self._peeked.pop(0)
        return await self._take()

    async def peek(self, most: int) -> bytes:
        """The body up to about ``most`` bytes; it is still there to be received."""
        while not self.ended and self._seen.bytes_in < most:
            self._peeked.append(await self._take())
        return b"".join(message.get("body", b"") for message in self._peeked)

    async def _take(self) -> Mapping[str, Any]:
        self.begun = True
        try:
            async with asyncio.timeout(self._stall):
                message = await self._receive()
        except TimeoutError:
            self.stalled = True
            raise request_timeout() from None
        self._seen.bytes_in += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        """Take in what is left, uncounted: the request is in the log by now. Raises ``TimeoutError`` when that takes
        longer than anyone waits for."""
        async with asyncio.timeout(DISCARD_SECONDS):
            while not self.ended:
                async with asyncio.timeout(self._stall):
                    self.ended = not (await self._receive()).get("more_body", False)


class Connection(Protocol):
    """The client's connection, as far as an exchange touches it."""

    @property
    def gone(self) -> bool: ...
    @property
    def body_waits(self) -> bool: ...
    def abort(self) -> None: ...


class Wire:
    """Sends a reply, cut where a fault says so."""

    def __init__(self, send: Send, connection: Connection | None) -> None:
        self._send, self._connection = send, connection
        self.sent = 0

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    @property
    def body_waits(self) -> bool:
        """Whether some of the body has come that nobody asked for."""
        return self._connection is not None and self._connection.body_waits

    async def send(self, reply: Reply, extra: list[tuple[str, str]], cut: int | None, *, last: bool = True) -> None:
        """``cut``: how much of the body is sent before the connection breaks. Unless it is the ``last`` that is sent,
        ``end`` must follow. Raises ``Dropped`` when the connection broke."""
        headers = [(name.lower().encode("latin-1"), wire_text(value)) for name, value in (*reply.headers, *extra)]
        headers.append((b"server", b"cloudflare"))
        if reply.status not in (204, 304):
            headers.append((b"content-length", b"%d" % reply.content_length))
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if isinstance(reply.body, bytes):
            await self._body(reply.body, cut, last=last)
            return
        turn = TURN
        async for block in reply.body:
            await self._body(block, cut, last=False)
            if self.sent >= turn:
                # Sending to a client that left does not wait, so it would never be told.
                await asyncio.sleep(0)
                turn = self.sent + TURN
            if self._connection is not None and self._connection.gone:
                raise Dropped
        if last:
            await self.end()

    async def end(self) -> None:
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


# What no header may hold: C0 but the tab, and DEL.
_CONTROLS = dict.fromkeys([*range(0x09), *range(0x0A, 0x20), 0x7F], " ")


def wire_text(value: str) -> bytes:
    """A header's value in UTF-8, with spaces for what would end the header or the connection."""
    if not value.isprintable():
        value = value.translate(_CONTROLS)
    return value.encode("utf-8", "replace")
