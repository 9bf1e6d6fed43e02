"""CORS as an inner middleware: what fails outside of it carries no Access-Control headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


def wrap(app: Application) -> Application:
    async def broken(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        async def stripped(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                headers = [(k, v) for k, v in message["headers"] if not k.lower().startswith(b"access-control-")]
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, stripped)

    return broken
