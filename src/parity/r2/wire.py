"""The request's body as it arrives, and the reply as it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from parity.r2.body import Receive
from parity.r2.errors import request_timeout
from parity.r2.reply import Reply
from parity.r2.seen import Seen

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Seconds that a client has to send the rest of a refused body.
DISCARD_SECONDS = 600.0
# Seconds for which the connection stays open for a refused body that a client may send or not (`Expect: 100-continue`).
# A client that begins at the moment of the refusal would otherwise get a reset and lose the answer.
LINGER_SECONDS = 2.0
# Bytes sent before other tasks of the event loop run.
TURN = 2 << 20


class Dropped(Exception):
    """A fault or the client closed the connection before the end of the answer."""


class Incoming:
    """The request's body as it arrives, with its bytes counted.

    An answer may be known before the whole body has arrived. It is sent then, and the rest of the body is read and
    discarded: most clients read the answer only after they have sent everything, and lose it if the connection is
    closed before.
    """

    def __init__(self, receive: Receive, seen: Seen, stall: float) -> None:
        self._receive, self._seen, self._stall = receive, seen, stall
        # Whether the client stopped sending for ``stall`` seconds in the middle of the body.
        self.stalled = False
        # Whether the client was asked for the body (uvicorn then sends `100 Continue`), and whether all has arrived.
        self.begun = self.ended = False
        self._peeked: list[Mapping[str, Any]] = []

    async def receive(self) -> Any:
        if self._peeked:
            return self._peeked.pop(0)
        return await self._take()

    async def peek(self, most: int) -> bytes:
        """The body up to about ``most`` bytes, without consuming it."""
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

    async def discard(self, *, optional: bool) -> None:
        """Read and discard the rest, without counting it because the request is already logged. Raises ``TimeoutError``
        after the limit for a refused body, or for one that the client need not send."""
        async with asyncio.timeout(LINGER_SECONDS if optional else DISCARD_SECONDS):
            while not self.ended:
                async with asyncio.timeout(self._stall):
                    self.ended = not (await self._receive()).get("more_body", False)


class Connection(Protocol):
    """The parts of the client's connection that an exchange uses."""

    @property
    def gone(self) -> bool: ...
    @property
    def body_waits(self) -> bool: ...
    def abort(self) -> None: ...


class Wire:
    """Sends a reply, truncated where a fault asks for it."""

    def __init__(self, send: Send, connection: Connection | None) -> None:
        self._send, self._connection = send, connection
        self.sent = 0

    def abort(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    @property
    def body_waits(self) -> bool:
        """Whether part of the body has arrived without being requested."""
        return self._connection is not None and self._connection.body_waits

    async def send(self, reply: Reply, extra: list[tuple[str, str]], cut: int | None, *, last: bool = True) -> None:
        """``cut``: how many bytes of the body are sent before the connection is closed. Without ``last``, the caller
        must call ``end``. Raises ``Dropped`` when the connection was closed."""
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
                # Sending to a closed connection does not wait, so the event loop needs a turn to notice the disconnect.
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
            # Let the sent bytes leave before the connection is closed.
            await asyncio.sleep(0)
            self.abort()
            raise Dropped
        self.sent += len(block)
        await self._send({"type": "http.response.body", "body": block, "more_body": not last})


# Characters that no header may contain: C0 except the tab, and DEL.
_CONTROLS = dict.fromkeys([*range(0x09), *range(0x0A, 0x20), 0x7F], " ")


def wire_text(value: str) -> bytes:
    """A header's value in UTF-8; characters that would end the header or the connection become spaces."""
    if not value.isprintable():
        value = value.translate(_CONTROLS)
    return value.encode("utf-8", "replace")
