"""Variant: each write uploads the whole database under one key, even while other writes do the same."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def wrap(app: Any, _settings: object) -> Any:
    async def broken(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        user, profile = (headers.get(name, b"").decode() for name in (b"x-user-id", b"x-profile-id"))

        async def uploaded_first(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 300:
                key = f"{os.environ['APP_ENV']}/users/{user}/profiles/{profile}/whole-database.sqlite"
                await app.state.core.store.put_bytes(key, b"x" * 65536)
            await send(message)

        writes = scope["type"] == "http" and scope["method"] in WRITES and user and profile
        await app(scope, receive, uploaded_first if writes else send)

    return broken
