"""A new reel is acknowledged at once and stored a little later, in the background: a stop in between loses it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

LATER_S = 2.0


def wrap(app: Application) -> Application:
    tasks: set[asyncio.Task[None]] = set()

    async def store_later(scope: Message, body: bytes) -> None:
        async def whole() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def nowhere(_message: Message) -> None:
            return None

        await asyncio.sleep(LATER_S)
        await app(scope, whole, nowhere)

    async def broken(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", "/api/projects"):
            await app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        task = asyncio.create_task(store_later(scope, body))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        answer = json.dumps({"id": "soon"}).encode()
        headers = [(b"content-type", b"application/json"), (b"x-sync-status", b"synced")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return broken
