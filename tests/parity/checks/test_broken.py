"""The broken variants really break: each is put around a right application and asked."""

from __future__ import annotations

import json
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parity.checks.broken import (
    bad_input_stored,
    failure_as_empty,
    https_only_by_header,
    websockets_refused,
    websockets_silent,
)


async def down(_request: Request) -> Response:
    return JSONResponse({"detail": "storage"}, 503)


def client(app: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api.example")  # type: ignore[arg-type]  # ASGI


async def test_an_outage_looks_like_an_empty_list() -> None:
    app = Starlette(routes=[Route("/api/profiles", down)])
    async with client(failure_as_empty.wrap(app)) as http:
        answer = await http.get("/api/profiles")
    assert (answer.status_code, answer.json()) == (200, [])


async def test_a_health_check_without_forwarded_headers_is_redirected() -> None:
    app = Starlette(routes=[Route("/api/health", lambda _request: JSONResponse({}))])
    async with client(https_only_by_header.wrap(app)) as http:
        assert (await http.get("/api/health")).status_code == 301
        assert (await http.get("/api/health", headers={"X-Forwarded-Proto": "https"})).status_code == 200


async def test_a_refused_post_stores_something() -> None:
    stored: list[object] = []

    async def create(request: Request) -> Response:
        body = json.loads(await request.body())
        if not isinstance(body.get("name"), str):
            return JSONResponse({"detail": "name"}, 422)
        stored.append(body)
        return JSONResponse(body, 201)

    app = Starlette(routes=[Route("/api/profiles", create, methods=["POST"])])
    async with client(bad_input_stored.wrap(app)) as http:
        assert (await http.post("/api/profiles", json={"name": 7})).status_code == 422
    assert stored == [{"name": "half done"}]


async def conversation(app: Any, incoming: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an application sends to a client that sends ``incoming`` and leaves."""
    left = [{"type": "websocket.connect"}, *incoming, {"type": "websocket.disconnect", "code": 1000}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return left.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)
    return sent


async def test_websockets_are_refused() -> None:
    sent = await conversation(websockets_refused.wrap(down), [])  # type: ignore[arg-type]  # never called
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_websockets_answer_pings_and_tell_no_state() -> None:
    ping = {"type": "websocket.receive", "text": "ping"}
    sent = await conversation(websockets_silent.wrap(down), [ping])  # type: ignore[arg-type]  # never called
    assert sent == [{"type": "websocket.accept"}, {"type": "websocket.send", "text": '{"type": "pong"}'}]
