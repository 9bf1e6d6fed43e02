"""Reads and validates user, profile and position of a request or WebSocket. Refuses WebSockets of unknown origins."""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app import problems
from app.context import Caller, caller_variable
from app.ids import ID_FORM, is_id
from app.problems import POSITION_HEADER

USER_HEADER = "X-User-ID"
PROFILE_HEADER = "X-Profile-ID"
_PROTOCOL_NAMES = {USER_HEADER: "user", PROFILE_HEADER: "profile", POSITION_HEADER: "position"}
SUBPROTOCOL = "reel-ballers"
"""The sub-protocol that the server chooses: a browser insists on one of those that it offered."""
_POSITION_DIGITS = 18


def read_caller(headers: Headers, protocols: Mapping[str, list[str]]) -> Caller:
    """The caller that headers, or sub-protocols of a WebSocket, name.

    Raises a 400 problem that names the header or sub-protocol when its value is not valid.
    """
    found: dict[str, str | None] = {}
    for header, protocol in _PROTOCOL_NAMES.items():
        given = headers.getlist(header)
        name = header
        if not given:
            given = protocols.get(protocol, [])
            name = f"Sub-protocol {protocol}"
        if len(given) > 1:
            raise problems.INVALID_HEADER.error(f"{name} was sent {len(given)} times: expected once")
        if given and header == POSITION_HEADER:
            if not (given[0].isascii() and given[0].isdigit() and len(given[0]) <= _POSITION_DIGITS):
                raise problems.INVALID_HEADER.error(
                    f"{name} {given[0][:80]!r} is not valid: expected the value of an earlier {POSITION_HEADER}"
                )
        elif given and not is_id(given[0]):
            raise problems.INVALID_HEADER.error(f"{name} {given[0][:80]!r} is not valid: expected {ID_FORM}")
        found[header] = given[0] if given else None
    return Caller(found[USER_HEADER], found[PROFILE_HEADER], int(found[POSITION_HEADER] or 0))


def from_subprotocols(headers: Headers) -> dict[str, list[str]]:
    """What a WebSocket says in its sub-protocols `user.ID`, `profile.ID`, `position.N` and `token.TOKEN`, by the part
    before the dot. A browser can set no other header of a WebSocket, and a URL would end up in access logs."""
    offered = [part.strip() for line in headers.getlist("sec-websocket-protocol") for part in line.split(",")]
    found: dict[str, list[str]] = {}
    for protocol in offered:
        name, dot, value = protocol.partition(".")
        if dot:
            found.setdefault(name, []).append(value)
    return found


class UserContextMiddleware:
    """Sets the caller for the code inside. For `open_paths` the headers are not validated."""

    def __init__(self, app: ASGIApp, origins: frozenset[str], open_paths: frozenset[str]) -> None:
        self.app = app
        self.origins = origins
        self.open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in self.open_paths:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        websocket = scope["type"] == "websocket"
        try:
            if websocket:
                self._check_origin(headers)
            caller = read_caller(headers, from_subprotocols(headers) if websocket else {})
        except problems.ProblemError as error:
            answer = problems.response(error.kind, error.detail, instance=scope["path"])
            if websocket:
                await deny(answer, scope, receive, send)
            else:
                await answer(scope, receive, send)
            return
        token = caller_variable.set(caller)
        try:
            await self.app(scope, receive, send)
        finally:
            caller_variable.reset(token)

    def _check_origin(self, headers: Headers) -> None:
        # CORS does not apply to WebSockets: without this check any page could open one on behalf of its visitor.
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in self.origins:
            raise problems.FORBIDDEN_ORIGIN.error(f"Origin {origin[:200]!r} may not open a WebSocket here")


async def deny(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses a WebSocket handshake with an HTTP response, or with a bare 403 where the server cannot."""
    await receive()  # websocket.connect
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        return
    await answer(scope, receive, send)
