"""A small application behind the real client, and tools around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parity.checks.kit.http import Http, Recorder
from parity.checks.kit.tools import Tools

FRONTEND = "https://app.example"
UNKNOWN: Any = None


class FakeTarget:
    name, driver, frontend_origin, api_url = "local", "process", FRONTEND, "https://api.example"


async def _profiles(request: Request) -> Response:
    if request.headers.get("x-user-id", "../other") == "../other":
        raise HTTPException(400, "X-User-ID")
    return JSONResponse([])


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, media_type="application/problem+json")


def application(origins: tuple[str, ...] = (FRONTEND, "http://localhost:5173")) -> Starlette:
    """What the product must look like from outside, as far as the CORS checks ask."""

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    cors = Middleware(
        CORSMiddleware, allow_origins=origins, allow_credentials=True, allow_methods=["*"], allow_headers=["*"]
    )
    routes = [Route("/api/profiles", _profiles, methods=["GET", "POST"]), Route("/api/health", health)]
    return Starlette(routes=routes, middleware=[cors], exception_handlers={HTTPException: _problem})


@pytest.fixture
def tools_for(tmp_path: Path) -> Callable[[Any], Any]:
    """``async with tools_for(app) as tools``: tools whose HTTP client talks to ``app``."""

    @asynccontextmanager
    async def make(app: Any) -> Any:
        recorder = Recorder()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="https://api.example") as client:
            target = cast(Any, FakeTarget())
            yield Tools(target, UNKNOWN, Http(client, recorder), recorder, tmp_path / "evidence")

    return make


Observe = Callable[[Any], Awaitable[Any]]
