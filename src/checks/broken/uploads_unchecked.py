"""Variant: the app calls an upload finished without validating it: a refused finalize-upload answers 200."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


def wrap(app: Application, _settings: object) -> Application:
    async def broken(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        async def accepted(message: Message) -> None:
            if message["type"] == "http.response.start" and 400 <= message["status"] < 500:
                message = {**message, "status": 200}
            await send(message)

        finishing = scope["type"] == "http" and scope["path"].endswith("/finalize-upload")
        await app(scope, receive, accepted if finishing else send)

    return broken
