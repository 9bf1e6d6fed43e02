"""Variant: a handler writes before it validates, so a refused POST still stores something in the bucket."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

BODY = json.dumps({"name": "half done"}).encode()


def wrap(app: Application, _settings: object) -> Application:
    async def store_half(scope: Message) -> None:
        kept = [(k, v) for k, v in scope["headers"] if k not in (b"content-length", b"transfer-encoding")]
        headers = [*kept, (b"content-length", str(len(BODY)).encode())]
        half = {**scope, "path": "/api/profiles", "raw_path": b"/api/profiles", "query_string": b"", "headers": headers}

        async def body() -> Message:
            return {"type": "http.request", "body": BODY, "more_body": False}

        async def nowhere(_message: Message) -> None:
            return None

        await app(half, body, nowhere)

    async def broken(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        refused = False

        async def watched(message: Message) -> None:
            nonlocal refused
            refused = refused or (message["type"] == "http.response.start" and 400 <= message["status"] < 500)
            if refused and message["type"] == "http.response.body" and not message.get("more_body"):
                await store_half(scope)
            await send(message)

        watch = scope["type"] == "http" and scope["method"] == "POST"
        await app(scope, receive, watched if watch else send)

    return broken
