"""Live progress over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn
import websockets
from fastapi import FastAPI
from tests.backend.connect import connect
from tests.backend.media.conftest import Api
from tests.backend.media.test_jobs import hold, started

from app.context import UserContext
from app.jobs import rows

WHO = ("reel-ballers", "user.alice", "profile.main")


@pytest.fixture
async def address(app: FastAPI) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning", ws="websockets-sansio"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await serving


async def receive(connection: websockets.ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(connection.recv(), 120))


async def test_an_export_socket_sends_the_state_then_events_until_complete(
    app: FastAPI, api: Api, address: str, make_video: Callable[..., bytes]
) -> None:
    worker = hold(app)
    export = await started(api, make_video)
    async with connect(f"{address}/ws/export/{export}", WHO) as connection:
        first = await receive(connection)
        assert (first["type"], first["export_id"], first["status"]) == ("state", export, "processing")
        worker.go.set()
        seen = await receive(connection)
        while seen["status"] != "complete":
            seen = await receive(connection)
        assert seen["progress"] == 1
        assert seen["key"] == f"exports/{export}.mp4"


async def test_both_kinds_of_ping_are_answered(api: Api, address: str) -> None:
    async with connect(f"{address}/ws/extractions", WHO) as connection:
        assert await receive(connection) == {"type": "state", "extractions": []}
        await connection.send("ping")
        assert await asyncio.wait_for(connection.recv(), 120) == "pong"
        await connection.send('{"type": "ping"}')
        assert await receive(connection) == {"type": "pong"}


@pytest.mark.parametrize("export_id", ["export_none", "a.b"])
async def test_an_unknown_export_closes_with_4404_and_a_reason(api: Api, address: str, export_id: str) -> None:
    async with connect(f"{address}/ws/export/{export_id}", WHO) as connection:
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await asyncio.wait_for(connection.recv(), 120)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4404
    assert export_id in closed.value.rcvd.reason


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00\xff", 1003),
        ("[" * 100_000, 1009),
        ("x" * 2000, 1009),
        ("\U0001f3c6" * 1000, None),
        ("[" * 1000, None),
        ('{"type": {"type": "ping"}}', None),
        ("null", None),
        ("", None),
    ],
)
async def test_an_odd_message_is_ignored_or_ends_the_connection_with_a_code(
    api: Api, address: str, message: str | bytes, code: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(f"{address}/ws/extractions", WHO) as connection:
        await receive(connection)
        await connection.send(message)
        if code is None:
            await connection.send("ping")
            assert await asyncio.wait_for(connection.recv(), 120) == "pong"
        else:
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await asyncio.wait_for(connection.recv(), 120)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code
    assert [record.message for record in caplog.records if record.exc_info] == []


async def test_the_reason_of_a_close_frame_is_cut_to_what_it_holds(api: Api, address: str) -> None:
    async with connect(f"{address}/ws/export/{'%C3%BC' * 64}", WHO) as connection:
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await asyncio.wait_for(connection.recv(), 120)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4404
    assert "üüü" in closed.value.rcvd.reason


async def test_progress_of_another_machine_is_seen_too(
    app: FastAPI, api: Api, address: str, make_video: Callable[..., bytes]
) -> None:
    hold(app)
    export = await started(api, make_video)
    async with connect(f"{address}/ws/export/{export}", WHO) as connection:
        await receive(connection)
        async with app.state.core.databases.session(UserContext("alice", "main")) as session:
            await session.write(lambda c: rows.fail(c, export, "said elsewhere"))
        seen = await receive(connection)
        while seen["status"] != "failed":
            seen = await receive(connection)
        assert seen["reason"] == "said elsewhere"


async def test_extractions_of_the_profile_are_told_as_they_happen(
    api: Api, address: str, make_video: Callable[..., bytes]
) -> None:
    game = await api.upload(make_video())
    clip = await api.clip(game["id"], 0, 1)
    async with connect(f"{address}/ws/extractions", WHO) as connection:
        await receive(connection)
        await api.call("POST", f"/api/clips/{clip}/extract", expect=202)
        seen = await receive(connection)
        while seen["status"] != "complete":
            seen = await receive(connection)
        assert seen["clip_id"] == clip
