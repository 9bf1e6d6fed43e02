"""Rename and delete: what each changes, and what stays."""

from __future__ import annotations

from collections.abc import Callable

import apsw
import pytest
import websockets
from fastapi import FastAPI
from tests.backend.connect import connect
from tests.backend.media.conftest import PREFIX, Api, stored, until
from tests.backend.media.test_jobs import CONTEXT, hold, started
from tests.backend.media.test_websockets import WHO, address, receive

from app.clips import extractions
from app.clips import rows as clip_rows
from app.db.rows import execute
from app.games import rows as game_rows
from app.jobs import rows as job_rows

__all__ = ["address"]
MIB = 1024 * 1024


async def test_a_game_is_renamed(api: Api, make_video: Callable[..., bytes]) -> None:
    game = await api.upload(make_video())
    renamed = await api.call("PATCH", f"/api/games/{game['id']}", {"name": " Cup final "})
    assert renamed["name"] == "Cup final"
    assert await api.call("GET", f"/api/games/{game['id']}") == renamed
    await api.call("PATCH", "/api/games/game_none", {"name": "x"}, expect=404)


async def test_an_export_has_the_reels_name_until_it_is_renamed(api: Api, make_video: Callable[..., bytes]) -> None:
    game = await api.upload(make_video())
    export = await api.export([await api.clip(game["id"], 0, 1)])
    assert export["name"] == "P"
    await api.call("DELETE", f"/api/projects/{export['project_id']}", expect=204)
    assert (await api.over(f"/api/exports/{export['id']}"))["name"] == "P"
    renamed = await api.call("PATCH", f"/api/exports/{export['id']}", {"name": "For the club"})
    assert (renamed["name"], renamed["status"]) == ("For the club", "complete")
    assert (await api.call("GET", "/api/exports"))["exports"] == [renamed]


async def test_a_deleted_export_takes_its_file_along(api: Api, make_video: Callable[..., bytes]) -> None:
    game = await api.upload(make_video())
    export = await api.export([await api.clip(game["id"], 0, 1)])
    done = await api.over(f"/api/exports/{export['id']}")
    assert PREFIX + done["key"] in stored(api.store)
    await api.call("DELETE", f"/api/exports/{export['id']}", expect=204)
    assert PREFIX + done["key"] not in stored(api.store)
    await api.call("DELETE", f"/api/exports/{export['id']}", expect=404)
    assert (await api.call("GET", "/api/exports"))["exports"] == []


async def test_a_deleted_export_is_stopped_and_its_listeners_are_told(
    app: FastAPI, api: Api, address: str, make_video: Callable[..., bytes]
) -> None:
    worker = hold(app)
    export = await started(api, make_video)
    async with connect(f"{address}/ws/export/{export}", WHO) as connection:
        assert (await receive(connection))["status"] == "processing"
        await api.call("DELETE", f"/api/exports/{export}", expect=204)

        async def running() -> int:
            return len(app.state.runner._tasks)

        await until(running, lambda count: count == 0)
        worker.go.set()
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await never_ending(connection)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4404
    assert [key for key in stored(api.store) if "/exports/" in key] == []


async def never_ending(connection: websockets.ClientConnection) -> None:
    """Receives for as long as there is something: progress may have been on its way."""
    while True:
        await receive(connection)


async def test_a_clip_in_a_reel_goes_only_with_cascade_and_leaves_the_others_in_order(
    api: Api, make_video: Callable[..., bytes]
) -> None:
    game = await api.upload(make_video())
    clips = [await api.clip(game["id"], start, start + 0.5) for start in (0, 1, 2)]
    reel = await api.call("POST", "/api/projects", {"name": "P", "clip_ids": [*clips, clips[1]]}, expect=201)
    refused = await api.call("DELETE", f"/api/clips/{clips[1]}", expect=409)
    assert "'P'" in refused["detail"]
    await api.call("DELETE", f"/api/clips/{clips[1]}?cascade=true", expect=204)
    assert (await api.call("GET", f"/api/projects/{reel['id']}"))["clip_ids"] == [clips[0], clips[2]]


async def test_an_upload_goes_on_with_fresh_urls_for_the_same_parts(api: Api) -> None:
    prepared = await api.prepare(b"", size=100 * MIB)
    again = await api.call("POST", f"/api/games/{prepared['game_id']}/upload-urls")
    assert again["upload"]["upload_id"] == prepared["upload"]["upload_id"]
    assert [(part["part_number"], part["size"]) for part in again["upload"]["parts"]] == [
        (part["part_number"], part["size"]) for part in prepared["upload"]["parts"]
    ]
    assert again["expires_in"] == 3600


async def test_an_upload_that_is_finished_gets_no_urls(api: Api, make_video: Callable[..., bytes]) -> None:
    game = await api.upload(make_video())
    await api.call("POST", f"/api/games/{game['id']}/upload-urls", expect=409)
    await api.call("POST", "/api/games/game_none/upload-urls", expect=404)


async def test_each_of_many_extractions_of_a_clip_has_its_own_file(app: FastAPI, api: Api) -> None:
    keys = app.state.core.profile_keys(CONTEXT)

    def change(connection: apsw.Connection) -> set[str]:
        game = dict.fromkeys(("id", "name", "filename", "content_type"), "g")
        game_rows.create(connection, {**game, "extension": "mp4", "size_bytes": 1, "upload_id": None, "part_count": 0})
        execute(connection, "UPDATE games SET status = 'ready', duration_s = 9")
        clip_rows.create(connection, "c", game_id="g", name="c", start=0, end=1)
        made = set()
        for number in range(205):
            job = extractions.begin(connection, f"e{number}", "c", keys)
            job_rows.cancel(connection, job.id)
            made.add(job.payload["output_key"])
        assert set(extractions.end(connection, ["c"], keys).files) >= made
        return made

    async with app.state.core.databases.session(CONTEXT) as session:
        assert len(await session.write(change)) == 205
