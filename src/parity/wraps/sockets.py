"""Broken variants of WebSockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps

from .asgi import App, Message, Receive, Send, Settings, body_of, is_write, replayed

Handler = Callable[[Message, Receive, Send], Awaitable[None]]


def _variant(handle: Handler) -> Callable[[App, Settings], App]:
    """The variant in which ``handle`` answers every WebSocket after its first message, and the app the rest."""

    @wraps(handle)
    def variant(app: App, _settings: Settings) -> App:
        async def broken(scope: Message, receive: Receive, send: Send) -> None:
            if scope["type"] != "websocket":
                await app(scope, receive, send)
                return
            await receive()
            await handle(scope, receive, send)

        return broken

    return variant


@_variant
async def sockets_refused(_scope: Message, _receive: Receive, send: Send) -> None:
    """Every WebSocket handshake is refused."""
    await send({"type": "websocket.close", "code": 1008})


@_variant
async def sockets_silent(_scope: Message, receive: Receive, send: Send) -> None:
    """Every WebSocket is accepted and never sends a message."""
    await send({"type": "websocket.accept"})
    await _until("websocket.disconnect", receive)


@_variant
async def sockets_closed_at_once(_scope: Message, _receive: Receive, send: Send) -> None:
    """A WebSocket opens and is closed again: the loop that keeps it ends early."""
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 1000})


@_variant
async def sockets_break_on_nonsense(_scope: Message, receive: Receive, send: Send) -> None:
    """A malformed frame ends the WebSocket with 1011."""
    await send({"type": "websocket.accept"})
    await _until("websocket.receive", receive)
    await send({"type": "websocket.close", "code": 1011})


@_variant
async def sockets_trust_the_path(scope: Message, receive: Receive, send: Send) -> None:
    """A WebSocket opens as the person that its path and query name, and says so."""
    await send({"type": "websocket.accept"})
    text = f"{scope['path']}?{scope.get('query_string', b'').decode('latin-1')}"
    await send({"type": "websocket.send", "text": text})
    await _until("websocket.disconnect", receive)


async def _until(kind: str, receive: Receive) -> None:
    while (await receive())["type"] != kind:
        pass


def sockets_tell_writes(app: App, _settings: Settings) -> App:
    """A WebSocket opens for anyone, and says what anyone writes."""
    written: list[str] = []

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if is_write(scope):
            body = await body_of(receive)
            written.append(body.decode("utf-8", "replace"))
            await app(scope, replayed(body), send)
            return
        if scope["type"] != "websocket":
            await app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        gone, told = asyncio.create_task(_until("websocket.disconnect", receive)), len(written)
        while not gone.done():
            for text in written[told:]:
                await send({"type": "websocket.send", "text": text})
            told = len(written)
            await asyncio.wait([gone], timeout=0.1)

    return broken
