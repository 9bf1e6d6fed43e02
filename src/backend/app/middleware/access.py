"""Requires ACCESS_TOKEN for every request, if that setting is not empty.

`X-User-ID` is not authentication: everyone who can reach the API can read and delete any user's data. The token limits
a staging app on a public address to the people who have it. It does not distinguish users.
"""

import base64
import binascii
import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app import problems
from app.middleware.user_context import deny, from_subprotocols


class AccessMiddleware:
    """Answers 401 unless a request has `Authorization: Bearer TOKEN`, or a WebSocket the sub-protocol `token.` followed
    by the token in base64url. Never in a URL: those end up in access logs.

    `open_paths`, and paths that begin with one of `open_prefixes` (presigned URLs), need no token.
    """

    def __init__(
        self, app: ASGIApp, token: str, open_paths: frozenset[str], open_prefixes: tuple[str, ...] = ()
    ) -> None:
        self.app = app
        self.token = token.encode()
        self.open_paths = open_paths
        self.open_prefixes = open_prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.token or scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if path in self.open_paths or path.startswith(self.open_prefixes):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["type"] == "websocket":
            given = _decoded(next(iter(from_subprotocols(headers).get("token", [])), ""))
        else:
            # The setting allows only ASCII in a token, because browsers and servers differ in how they encode the rest.
            scheme, _, text = headers.get("authorization", "").partition(" ")
            given = text.strip(" \t").encode("latin-1") if scheme.lower() == "bearer" else b""
        if hmac.compare_digest(given, self.token):
            await self.app(scope, receive, send)
            return
        answer = problems.response(
            problems.UNAUTHORIZED, "Send the ACCESS_TOKEN of this app: Authorization: Bearer …", instance=path
        )
        await (deny(answer, scope, receive, send) if scope["type"] == "websocket" else answer(scope, receive, send))


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
