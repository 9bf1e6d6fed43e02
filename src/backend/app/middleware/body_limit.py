"""Refuses request bodies that are too large, take too long to arrive, or are compressed."""

import asyncio

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems


class BodyLimitMiddleware:
    """Answers 413 for a body of more than `limit` bytes, at once if Content-Length says so, 408 for a body that has
    not arrived after `seconds`, and 415 for a compressed one, because a few bytes can unpack to gigabytes. The time
    limit exists because a stopping server waits for all requests that it began.

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
        refusal = self._refusal(Headers(scope=scope), scope["path"])
        if refusal is not None:
            await refusal(scope, receive, send)
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

    def _refusal(self, headers: Headers, path: str) -> Response | None:
        """The answer to a body that its headers are enough to refuse."""
        declared = headers.get("content-length", "0")
        if not (declared.isascii() and declared.isdigit()):
            detail = f"Content-Length {declared[:40]!r} is not valid: expected a whole number"
            return problems.response(problems.BAD_REQUEST, detail, instance=path)
        if int(declared) > self.limit:
            return problems.response(problems.BODY_TOO_LARGE, self._too_large(), instance=path)
        coding = headers.get("content-encoding", "").strip().lower()
        if coding not in ("", "identity") and (int(declared) or "transfer-encoding" in headers):
            detail = f"The body has the Content-Encoding {coding[:40]!r}: send it without one"
            # The header says what to send instead (RFC 9110 15.5.16).
            accepted = {"Accept-Encoding": "identity"}
            return problems.response(problems.UNSUPPORTED_MEDIA_TYPE, detail, instance=path, headers=accepted)
        return None

    def _too_large(self) -> str:
        return f"The body is larger than {self.limit} bytes; videos are uploaded by presigned URL"
