"""Refuses bodies that are too large, declared or streamed."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems


class BodyLimitMiddleware:
    """Answers 413 for a body over `limit` bytes; a declared length is refused before a byte is read.

    Paths that begin with one of `unlimited` take videos in development and have a limit of their own.
    """

    def __init__(self, app: ASGIApp, limit: int, unlimited: tuple[str, ...] = ()) -> None:
        self.app = app
        self.limit = limit
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
            answer = problems.response(problems.BODY_TOO_LARGE, self._detail(), instance=scope["path"])
            await answer(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                # An HTTPException passes through whatever reads the body, up to the exception handlers.
                raise problems.BODY_TOO_LARGE.error(self._detail())
            return message

        await self.app(scope, counted, send)

    def _detail(self) -> str:
        return f"The body is larger than {self.limit} bytes; videos are uploaded by presigned URL"
