"""The broken variants really break: each is put around a right application and asked."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.db import schema
from broken import (
    bad_input_stored,
    objects_shared,
    one_object_for_all,
    schema_left_behind,
    stuck_after_lost_answer,
    uploads_unchecked,
    websockets_of_own_jobs,
    websockets_only_pong,
)


async def down(_request: Request) -> Response:
    return JSONResponse({"detail": "storage"}, 503)


async def refused(_request: Request) -> Response:
    return JSONResponse({"detail": "no video"}, 422)


def client(app: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api.example")  # type: ignore[arg-type]  # ASGI


async def test_a_refused_post_stores_something() -> None:
    stored: list[object] = []

    async def create(request: Request) -> Response:
        body = json.loads(await request.body())
        if not isinstance(body.get("name"), str):
            return JSONResponse({"detail": "name"}, 422)
        stored.append(body)
        return JSONResponse(body, 201)

    app = Starlette(routes=[Route("/api/profiles", create, methods=["POST"])])
    async with client(bad_input_stored.wrap(app, {})) as http:
        assert (await http.post("/api/profiles", json={"name": 7})).status_code == 422
    assert stored == [{"name": "half done"}]


async def test_finishing_an_upload_always_succeeds() -> None:
    refusing = Starlette(routes=[Route("/api/games/g/finalize-upload", refused, methods=["POST"])])
    async with client(uploads_unchecked.wrap(refusing, {})) as http:
        assert (await http.post("/api/games/g/finalize-upload")).status_code == 200


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


async def test_websockets_answer_pings_and_tell_no_state() -> None:
    ping = {"type": "websocket.receive", "text": "ping"}
    sent = await conversation(websockets_only_pong.wrap(down, {}), [ping])  # type: ignore[arg-type]  # never called
    assert sent == [{"type": "websocket.accept"}, {"type": "websocket.send", "text": '{"type": "pong"}'}]


class Application:
    """An ASGI application with the product's store in its state."""

    def __init__(self, routes: list[Route]) -> None:
        self.puts: list[tuple[str, dict[str, Any]]] = []
        self.inner = Starlette(routes=routes)
        self.state = SimpleNamespace(core=SimpleNamespace(store=self))

    async def put_bytes(self, key: str, _data: bytes, **options: Any) -> str:
        self.puts.append((key, options))
        return '"etag"'

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.inner(scope, receive, send)


async def test_every_write_uploads_the_same_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "staging")
    app = Application([Route("/x", lambda _request: JSONResponse({}), methods=["GET", "POST"])])
    async with client(one_object_for_all.wrap(app, {})) as http:
        for _ in range(2):
            await http.post("/x", headers={"X-User-ID": "u", "X-Profile-ID": "p"})
        await http.get("/x", headers={"X-User-ID": "u", "X-Profile-ID": "p"})
    assert app.puts == [("staging/users/u/profiles/p/whole-database.sqlite", {})] * 2


def test_the_newest_migrations_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "all_migrations", schema.all_migrations)
    known = len(schema.all_migrations())
    schema_left_behind.wrap(None, {})
    assert len(schema.all_migrations()) == 1 < known


def test_after_a_lost_answer_nothing_is_uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.exceptions
    import botocore.httpsession

    def answer(_session: object, request: SimpleNamespace) -> str:
        if request.lost:
            raise botocore.exceptions.ConnectionClosedError(endpoint_url=request.url)
        return "answer"

    def request(method: str, *, lost: bool = False) -> SimpleNamespace:
        return SimpleNamespace(method=method, url="https://r2.example/k", lost=lost)

    monkeypatch.setattr(botocore.httpsession.URLLib3Session, "send", answer)
    stuck_after_lost_answer.wrap(None, {})
    session: Any = botocore.httpsession.URLLib3Session()
    assert session.send(request("PUT")) == "answer"
    for lost in (True, False):
        with pytest.raises(botocore.exceptions.ConnectionClosedError):
            session.send(request("PUT", lost=lost))
    assert session.send(request("GET")) == "answer"


@pytest.mark.parametrize("own", [True, False])
async def test_a_websocket_tells_the_progress_of_its_own_jobs_only(*, own: bool) -> None:
    async def events(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await JSONResponse({"id": "job-1"}, 202)(scope, _receive, send)
            return
        for kind in ("state", "progress", "pong"):
            await send({"type": "websocket.send", "text": json.dumps({"type": kind, "extraction_id": "job-1"})})

    app = websockets_of_own_jobs.wrap(events, {})
    if own:
        async with client(app) as http:
            await http.post("/api/clips/c/extract")
    told = [json.loads(message["text"])["type"] for message in await conversation(app, [])]
    assert told == (["state", "progress", "pong"] if own else ["state", "pong"])


async def test_a_deletion_takes_the_same_bytes_of_others_along(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = {"staging/users/a/games/1": "x", "staging/users/b/games/2": "x", "staging/users/b/games/3": "y"}

    class Client:
        def get_paginator(self, _name: str) -> Client:
            return self

        def paginate(self, **_: str) -> list[dict[str, Any]]:
            return [{"Contents": [{"Key": key, "ETag": etag} for key, etag in objects.items()]}]

        def delete_object(self, *, Bucket: str, Key: str) -> None:  # boto3's names
            assert Bucket == "videos"
            del objects[Key]

    for name in ("R2_BUCKET", "R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "APP_ENV"):
        monkeypatch.setenv(name, "videos")
    monkeypatch.setattr("boto3.client", lambda *_, **__: Client())
    app = Starlette(routes=[Route("/api/profiles/p", refused, methods=["GET", "DELETE"])])
    async with client(objects_shared.wrap(app, {})) as http:
        await http.get("/api/profiles/p", headers={"X-User-ID": "a"})
        assert len(objects) == 3
        await http.delete("/api/profiles/p", headers={"X-User-ID": "a"})
    assert list(objects) == ["staging/users/b/games/3"]
