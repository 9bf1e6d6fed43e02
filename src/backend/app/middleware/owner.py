"""Redirects a request for a profile that another Machine owns to that Machine, with Fly's `fly-replay`.

The proxy repeats the request there. With the session replay cache of `fly.staging.toml` it then sends later requests
with the same `X-Profile-ID` directly to the owner. A replayed body has at most 1 MB (superfly/docs, "Dynamic request
routing", 2026), so no request body may be larger. The CORS middleware answers preflights before, on any Machine.

This Machine serves the request and becomes the owner if the proxy could not reach the owner, if the request was
replayed already, or if this process has no Machine id. The fence in the log makes that safe even if the old owner is
only frozen. A request whose client asked for this Machine (`Fly-Prefer-Instance-Id`, as operators and checks do) is
served here too; of these requests, only a write changes the owner.

If the proxy could not reach a Machine that is no longer the owner, the request goes to the current owner. Otherwise the
remaining Machines would take the profile from each other until the proxy forgets the missing Machine.
"""

import logging
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.context import UserContext, current_caller
from app.core import Core
from app.middleware.user_context import deny
from app.problems import ProblemError
from app.storage.interface import StorageError
from app.sync.interface import SyncError

log = logging.getLogger(__name__)

UNAVAILABLE: Final = "fly-preferred-instance-unavailable"
REPLAYED: Final = ("fly-replay-src", "fly-replay-failed")
CACHE_STATUS: Final = "fly-replay-cache-status"
ASKED_FOR: Final = "fly-prefer-instance-id"
PINNED: Final = "app.pinned"
"""In the scope of a request: reading for it makes no Machine the owner, for example because its client asked for this
Machine."""


class OwnerMiddleware:
    """Answers with `fly-replay` before a database is opened, a body is read, or a WebSocket is accepted."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        owner = await self._owner(scope) if scope["type"] in ("http", "websocket") else ""
        if not owner:
            await self.app(scope, receive, send)
            return
        headers = {"fly-replay": f"prefer_instance={owner}"}
        given = Headers(scope=scope)
        if given.get(CACHE_STATUS) == "hit" or UNAVAILABLE in given:
            # A cached replay brought it to the wrong Machine.
            headers["fly-replay-cache"] = "invalidate"
        # Only the proxy sees this answer. Where there is none, its status must not look like a success.
        answer = Response(f"Machine {owner} serves this profile", 503, {**headers, "Retry-After": "1"})
        if scope["type"] == "websocket":
            await deny(answer, scope, receive, send)
        else:
            await answer(scope, receive, send)

    async def _owner(self, scope: Scope) -> str:
        """The id of the Machine that must serve this request; empty if it is this Machine."""
        core: Core = scope["app"].state.core
        caller, headers = current_caller(), Headers(scope=scope)
        if not core.settings.fly_machine_id or caller.user_id is None or caller.profile_id is None:
            return ""
        if headers.get(ASKED_FOR) == core.settings.fly_machine_id:
            scope[PINNED] = True
            return ""
        if any(name in headers for name in REPLAYED):
            return ""
        context = UserContext(caller.user_id, caller.profile_id)
        try:
            owner = await core.databases.elsewhere(context) if await core.profiles.exists(context) else ""
            return "" if owner == headers.get(UNAVAILABLE) else owner
        except (ProblemError, SyncError, StorageError) as error:
            # The handler meets the same error, and answers it.
            log.info("who owns %s is not known: %s", context, error)
            return ""
