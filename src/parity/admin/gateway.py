"""One admin address for the whole stack: ``/r2/…`` and ``/modal/…`` are passed on to those stand-ins' own servers."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from parity.admin.app import problem
from parity.config.admin_limits import ANSWER_S, CONNECT_S

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
TIMEOUT = httpx.Timeout(ANSWER_S, connect=CONNECT_S)


def gateway_routes(upstreams: Mapping[str, str]) -> list[BaseRoute]:
    """Routes for each ``prefix → base URL``, such as ``{"r2": "http://r2:9091"}``; paths are passed on unchanged."""
    return [_route(prefix, base) for prefix, base in upstreams.items()]


def _route(prefix: str, base: str) -> Route:
    async def forward(request: Request) -> Response:
        url = f"{base}{request.url.path}" + (f"?{request.url.query}" if request.url.query else "")
        kept = {name: request.headers[name] for name in ("content-type", "accept") if name in request.headers}
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
                answer = await client.request(request.method, url, content=await request.body(), headers=kept)
        except httpx.TransportError as error:
            return problem(502, f"The {prefix} stand-in does not answer", f"{base}: {error!r}")
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))

    return Route(f"/{prefix}/{{path:path}}", forward, methods=_METHODS)
