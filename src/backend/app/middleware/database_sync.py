"""Delays a response until the object store has everything that its request wrote or read."""

from contextlib import AsyncExitStack
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.context import UserContext, current_caller
from app.error_handlers import sync_problem
from app.middleware.owner import PINNED
from app.problems import POSITION_HEADER, SYNC_STATUS_HEADER
from app.storage.interface import StorageError
from app.sync.interface import Databases, Session, SyncError, SyncStatus

_SCOPE_KEY: Final = "app.database_sync"


class _Open:
    """The sessions that one request has opened, by context: one each."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.sessions: dict[UserContext, Session] = {}

    def worst(self) -> SyncStatus | None:
        """What the response says: nothing when no database was touched."""
        states = {session.status for session in self.sessions.values()}
        order = (SyncStatus.CONFLICT, SyncStatus.FAILED, SyncStatus.PENDING, SyncStatus.SYNCED)
        return next((status for status in order if status in states), None)

    def position(self) -> int | None:
        """The TXID that the response tells the client to come back with; a request touches one profile's database."""
        return max(
            (session.position for session in self.sessions.values() if session.position is not None), default=None
        )


async def open_session(request: Request, databases: Databases, context: UserContext) -> Session:
    """The request's session for a profile, opened on first use."""
    opened: _Open = request.scope[_SCOPE_KEY]
    if context not in opened.sessions:
        opened.sessions[context] = await opened.stack.enter_async_context(
            databases.session(context, at_least=current_caller().position, serving=PINNED not in request.scope)
        )
    return opened.sessions[context]


class DatabaseSyncMiddleware:
    """Waits for a request's sessions after the handler and before the first byte of the response.

    If the object store does not get the data, a 503 problem replaces the response, because its content would be untrue.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        opened = _Open()
        scope[_SCOPE_KEY] = opened
        replaced = False
        settled = False

        async def settle_then_send(message: Message) -> None:
            nonlocal replaced, settled
            if replaced:
                return
            if message["type"] == "http.response.start" and not settled:
                settled = True
                try:
                    await opened.stack.aclose()
                except (SyncError, StorageError) as error:
                    replaced = True
                    await sync_problem(error, scope["path"])(scope, receive, send)
                    return
                status = opened.worst()
                if status is not None:
                    MutableHeaders(scope=message).setdefault(SYNC_STATUS_HEADER, status.value)
                position = opened.position()
                if position is not None:
                    MutableHeaders(scope=message).setdefault(POSITION_HEADER, str(position))
            await send(message)

        try:
            await self.app(scope, receive, settle_then_send)
        except BaseException as error:
            if not settled:
                # Nothing was answered; the caller learns of the error, so nothing needs to be settled.
                await opened.stack.__aexit__(type(error), error, error.__traceback__)
            raise
        if not settled:
            await opened.stack.aclose()
