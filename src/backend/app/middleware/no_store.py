"""Lets no browser or proxy keep an answer.

Every answer belongs to the person and the profile that the request's headers name, but a cache tells answers apart by
their URL alone. Without a header, caches may keep a 404 or a 410 too (RFC 9110 15.1). Chromium gave the 410 of a
deleted profile to requests for the next profile (seen 2026-11-28).
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class NoStoreMiddleware:
    """Adds ``Cache-Control: no-store`` to answers that say nothing about caching. Paths that begin with
    ``except_below`` are left alone: their URLs name what they answer."""

    def __init__(self, app: ASGIApp, except_below: str) -> None:
        self.app = app
        self.except_below = except_below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self.except_below):
            await self.app(scope, receive, send)
            return

        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, with_header)
