"""What every stand-in's admin API shares: problem bodies, strict JSON, serving beside the main server."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from typing import Any

import uvicorn
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

# Longer than any client keeps an idle connection (httpx: 5 s, like uvicorn by default). The client then closes it
# first, and no request is sent on a connection that the server is closing.
KEEP_ALIVE_SECONDS = 75


def problem(status: int, title: str, detail: str = "") -> JSONResponse:
    """An RFC 9457 body."""
    body = {"type": "about:blank", "title": title, "status": status, **({"detail": detail} if detail else {})}
    return JSONResponse(body, status, media_type="application/problem+json")


async def http_exception_as_problem(_request: Request, error: Exception) -> Response:
    """Handler for Starlette's ``HTTPException``: 404, 405 and those that ``read_object`` raises."""
    if not isinstance(error, HTTPException):
        raise error
    return problem(error.status_code, "Admin request refused", error.detail)


async def read_object(request: Request, allowed: Collection[str]) -> dict[str, object]:
    """The request's JSON object; an empty body is an empty object. Raises 400, naming what is wrong."""
    raw = await request.body()
    if not raw.strip():
        return {}
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    except RecursionError:
        raise HTTPException(400, "the body is not JSON that anyone needs: it is nested too deeply") from None
    if not isinstance(data, dict):
        raise HTTPException(400, "the body must be a JSON object")
    unknown = sorted(set(data) - set(allowed))
    if unknown:
        raise HTTPException(400, f"unknown field {', '.join(unknown)}; known: {', '.join(sorted(allowed))}")
    return data


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the process's signals to the stand-in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @cached_property
    def listening(self) -> asyncio.Event:
        return asyncio.Event()


@asynccontextmanager
async def serving(app: ASGIApp, host: str, port: int, **options: Any) -> AsyncIterator[int]:
    """Serve ``app`` on ``host:port`` inside the running loop; yields the port that was bound (``port`` may be 0).

    ``options`` go to ``uvicorn.Config`` (``ssl_certfile``, …). Raises ``OSError`` when the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    # Connections inherit TCP_NODELAY. asyncio sets it only for sockets that name their protocol; without it, an answer
    # in two pieces waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    options = {"timeout_keep_alive": KEEP_ALIVE_SECONDS, **options}
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="auto", **options)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    up = asyncio.create_task(server.listening.wait())
    await asyncio.wait((task, up), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        up.cancel()
        await task
        raise OSError(f"the server for {host}:{port} ended while it started")
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await task
        listener.close()
