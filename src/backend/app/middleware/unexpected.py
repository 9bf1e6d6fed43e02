"""Turns an unexpected exception into a problem response. It runs inside CORS, so that a browser can read the answer."""

import logging
import traceback

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems

log = logging.getLogger(__name__)


class UnexpectedErrorMiddleware:
    """Answers 500; the exception is logged, and shown to the client only with `show_details`."""

    def __init__(self, app: ASGIApp, show_details: bool) -> None:
        self.app = app
        self.show_details = show_details

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def observe(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, observe)
        except problems.ProblemError as error:
            if started:
                raise
            answer = problems.response(
                error.kind, error.detail, instance=scope["path"], headers=error.headers, extra=error.extra
            )
            await answer(scope, receive, send)
        except Exception as error:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise  # the connection must break: the client would take half a body for a whole one
            await self._answer(error)(scope, receive, send)

    def _answer(self, error: Exception) -> ASGIApp:
        if not self.show_details:
            return problems.response(problems.INTERNAL, "The request failed unexpectedly; the log says why")
        lines = traceback.format_exception(error)
        return problems.response(
            problems.INTERNAL, f"{type(error).__name__}: {error}", extra={"traceback": "".join(lines).splitlines()}
        )
