"""A transient storage error taken for "nothing there": 503 becomes 200 with an empty list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

EMPTY = b"[]"


def wrap(app: Application) -> Application:
    async def broken(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        swallowed = False

        async def softened(message: Message) -> None:
            nonlocal swallowed
            if message["type"] == "http.response.start" and message["status"] == 503:
                swallowed = True
                kept = [(k, v) for k, v in message["headers"] if k.lower().startswith(b"access-control-")]
                headers = [*kept, (b"content-type", b"application/json"), (b"content-length", b"2")]
                await send({**message, "status": 200, "headers": headers})
            elif message["type"] == "http.response.body" and swallowed:
                if not message.get("more_body"):
                    await send({"type": "http.response.body", "body": EMPTY})
            else:
                await send(message)

        await app(scope, receive, softened)

    return broken
