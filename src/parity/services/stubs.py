"""Stubs of outside APIs. Each gives the answers of ``[stubs]`` in ``parity.toml``, and 501 for all other requests.

A stub lies at ``http://HOST:PORT/NAME/…``; ``${PARITY_STUB_NAME}`` is that address without a path.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from enum import StrEnum

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parity.config.parity_toml import Answer, Stub

KEPT = 500
LOOK_S = 0.05
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class StubMode(StrEnum):
    """How a stub is taken away. ``AWAY``: it answers 503. ``SILENT``: it takes requests and never answers them; those
    that still wait when this ends get 503."""

    AWAY = "away"
    SILENT = "silent"


class Stubs:
    """What the stubs answer now. ``modes`` holds the names of those that do not answer as declared."""

    def __init__(self, stubs: Mapping[str, Stub]) -> None:
        self._stubs = stubs
        self.modes: dict[str, StubMode] = {}
        self.calls: deque[dict[str, object]] = deque(maxlen=KEPT)

    def names(self) -> list[str]:
        return sorted(self._stubs)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{name}/{path:path}", self._answer, methods=_METHODS)])

    async def _answer(self, request: Request) -> Response:
        name, path = request.path_params["name"], f"/{request.path_params['path']}"
        if name not in self._stubs:
            return JSONResponse({"error": f"parity.toml has no stub {name!r}; known: {', '.join(self.names())}"}, 404)
        taken = self.modes.get(name)
        answer = None if taken else find(self._stubs[name], request.method, path)
        status = 503 if taken else answer.status if answer else 501
        body = (await request.body())[:2000].decode("utf-8", "replace")
        self.calls.append({"stub": name, "method": request.method, "path": path, "body": body, "status": status})
        while self.modes.get(name) is StubMode.SILENT and not await request.is_disconnected():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        if answer is None:
            why = "is taken away" if status == 503 else f"has no answer for {request.method} {path}: not implemented"
            return JSONResponse({"error": f"the stub {name} {why}"}, status)
        await asyncio.sleep(answer.delay_s)
        if answer.json_ is not None:
            return JSONResponse(answer.json_, answer.status, headers=answer.headers)
        return Response(answer.text, answer.status, headers={"content-type": "text/plain", **answer.headers})


def find(stub: Stub, method: str, path: str) -> Answer | None:
    """The answer for exactly this path, else of the longest ``/beginning*`` that fits."""
    exact = stub.answers.get(f"{method} {path}")
    if exact is not None:
        return exact
    wide = [key for key in stub.answers if key.endswith("*") and f"{method} {path}".startswith(key[:-1])]
    return stub.answers[max(wide, key=len)] if wide else None
