"""Refuses request bodies that are too large or take too long to arrive."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems


class BodyLimitMiddleware:
    """Answers 413 for a body of more than `limit` bytes, at once if Content-Length says so, and 408 for a body that has
    not arrived after `seconds`. The time limit exists because a stopping server waits for all requests that it began.

    Paths that begin with one of `unlimited` receive videos in development and have their own limits.
    """

    def __init__(self, app: ASGIApp, limit: int, seconds: float, unlimited: tuple[str, ...] = ()) -> None:
        self.app = app
        self.limit = limit
        self.seconds = seconds
        self.unlimited = unlimited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self.unlimited):
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length")
        if declared is not None and not (declared.isascii() and declared.isdigit()):
            refusal = problems.BAD_REQUEST
            detail = f"Content-Length {declared[:40]!r} is not valid: expected a whole number"
            await problems.response(refusal, detail, instance=scope["path"])(scope, receive, send)
            return
        if declared is not None and int(declared) > self.limit:
            answer = problems.response(problems.BODY_TOO_LARGE, self._too_large(), instance=scope["path"])
            await answer(scope, receive, send)
            return
        received, complete = 0, False
        deadline = asyncio.get_running_loop().time() + self.seconds

        async def bounded() -> Message:
            nonlocal received, complete
            # What follows the body is the client's end, which may be long in coming.
            try:
                async with asyncio.timeout_at(None if complete else deadline):
                    message = await receive()
            except TimeoutError as error:
                raise problems.REQUEST_TIMEOUT.error(
                    f"The body did not arrive within {self.seconds:g} s ({received} bytes did)"
                ) from error
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self.limit:
                # An HTTPException passes through whatever reads the body, up to the exception handlers.
                raise problems.BODY_TOO_LARGE.error(self._too_large())
            return message

        await self.app(scope, bounded, send)

    def _too_large(self) -> str:
        return f"The body is larger than {self.limit} bytes; videos are uploaded by presigned URL"
