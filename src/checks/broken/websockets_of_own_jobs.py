"""Variant: a WebSocket reports only jobs of its own process, so it never shows progress of another Machine's job."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

STARTS = ("/extract", "/exports", "/retry")


def wrap(app: Application, _settings: object) -> Application:
    own: set[str] = set()

    def is_of_another(message: Message) -> bool:
        try:
            event = json.loads(message.get("text") or "")
        except ValueError:
            return False
        return event.get("type") == "progress" and not own & {event.get("export_id"), event.get("extraction_id")}

    async def broken(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        body = b""

        async def noted(message: Message) -> None:
            nonlocal body
            if message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body"):
                    own.add(json.loads(body).get("id", ""))
            await send(message)

        async def deaf(message: Message) -> None:
            if message["type"] != "websocket.send" or not is_of_another(message):
                await send(message)

        if scope["type"] == "websocket":
            await app(scope, receive, deaf)
        elif scope["type"] == "http" and scope["method"] == "POST" and scope["path"].endswith(STARTS):
            await app(scope, receive, noted)
        else:
            await app(scope, receive, send)

    return broken
