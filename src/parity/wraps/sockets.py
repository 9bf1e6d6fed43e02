"""Broken variants of WebSockets."""

from __future__ import annotations

from .asgi import App, Message, Receive, Send, Settings


def sockets_refused(app: App, _settings: Settings) -> App:
    """Every WebSocket handshake is refused."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await app(scope, receive, send)

    return broken


def sockets_silent(app: App, _settings: Settings) -> App:
    """Every WebSocket is accepted and never sends a message."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return broken


def sockets_closed_at_once(app: App, _settings: Settings) -> App:
    """A WebSocket opens and is closed again: the loop that keeps it ends early."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 1000})
            return
        await app(scope, receive, send)

    return broken


def sockets_break_on_nonsense(app: App, _settings: Settings) -> App:
    """A malformed frame ends the WebSocket with 1011."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.receive":
            pass
        await send({"type": "websocket.close", "code": 1011})

    return broken


def sockets_trust_the_path(app: App, _settings: Settings) -> App:
    """A WebSocket opens as the person that its path and query name, and says so."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        text = f"{scope['path']}?{scope.get('query_string', b'').decode('latin-1')}"
        await send({"type": "websocket.send", "text": text})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return broken
