"""A redirect to https for every request without ``X-Forwarded-Proto: https``, which health checks do not have."""

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
        if scope["type"] == "http" and (b"x-forwarded-proto", b"https") not in scope["headers"]:
            location = b"https://" + dict(scope["headers"]).get(b"host", b"localhost") + scope["path"].encode()
            await send({"type": "http.response.start", "status": 301, "headers": [(b"location", location)]})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return broken
