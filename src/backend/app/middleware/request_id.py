"""Reads Fly's request id, so that calls of object storage can be traced to a request."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.context import request_id_variable
from app.ids import is_id

HEADER = "Fly-Request-Id"


class RequestIdMiddleware:
    """Sets the request id for the code inside. A header value that is no valid id is ignored."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get(HEADER) if scope["type"] in ("http", "websocket") else None
        if given is None or not is_id(given):
            await self.app(scope, receive, send)
            return
        token = request_id_variable.set(given)
        try:
            await self.app(scope, receive, send)
        finally:
            request_id_variable.reset(token)
