"""Uploads: what is no whole video is refused and leaves nothing behind; what can be repaired stays open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import apsw
import pytest
from fastapi import FastAPI
from tests.backend.fakes import FakeStore
from tests.backend.media.conftest import PREFIX, Api, stored

from app import timestamps
from app.context import UserContext
from app.core import INSPECTIONS_AT_ONCE
from app.db.rows import execute
from app.games import uploads
from app.games.sweep import sweep
from app.games.upload_plan import plan_parts
from app.games.validation import inspect
from app.jobs import steps
from app.settings import Settings
from app.storage.r2 import R2Store

CONTEXT = UserContext("alice", "main")
MIB = 1024 * 1024


async def finalize(api: Api, game_id: str, parts: list[dict[str, object]], expect: int) -> dict[str, object]:
    answer: dict[str, object] = await api.call(
        "POST", f"/api/games/{game_id}/finalize-upload", {"parts": parts}, expect=expect
    )
    return answer


async def assert_nothing_stored(api: Api, game_id: str) -> None:
    """No bytes: an empty object keeps the URL of the upload from being used again."""
    assert [data for key, (data, *_) in api.store.objects.items() if f"/games/{game_id}/" in key] == [b""]
    await api.call("GET", f"/api/games/{game_id}", expect=404)
    await api.call("GET", "/api/health")


@pytest.mark.parametrize("filename", ["a.mp4", "a.mkv"])
async def test_a_text_file_is_refused_and_nothing_is_stored(api: Api, filename: str) -> None:
    data = b"this is no video\n" * 500
    game_id = (await api.prepare(data, filename))["game_id"]
    await api.store.put_bytes(api.key(game_id, filename[-3:]), data)
    problem = await finalize(api, game_id, [], 422)
    assert "nothing was stored" in str(problem["detail"])
    await assert_nothing_stored(api, game_id)


@pytest.mark.parametrize("faststart", [True, False])
async def test_a_truncated_video_is_refused_and_nothing_is_stored(
    api: Api, make_video: Callable[..., bytes], faststart: bool
) -> None:
    whole = make_video(faststart=faststart)
    data = whole[: len(whole) * 2 // 3]
    game_id = (await api.prepare(data))["game_id"]
    await api.store.put_bytes(api.key(game_id), data)
    problem = await finalize(api, game_id, [], 422)
    assert "cut off" in str(problem["detail"])
    await assert_nothing_stored(api, game_id)


async def test_a_file_of_another_size_than_announced_is_refused_and_nothing_is_stored(
    api: Api, make_video: Callable[..., bytes]
) -> None:
    data = make_video()
    game_id = (await api.prepare(data, size=len(data) + 1))["game_id"]
    await api.store.put_bytes(api.key(game_id), data)
    assert str(len(data) + 1) in str((await finalize(api, game_id, [], 422))["detail"])
    await assert_nothing_stored(api, game_id)


async def test_finalizing_before_the_put_says_so_and_the_upload_can_still_be_completed(
    api: Api, make_video: Callable[..., bytes]
) -> None:
    data = make_video(faststart=False)
    game_id = (await api.prepare(data))["game_id"]
    assert "PUT the file" in str((await finalize(api, game_id, [], 409))["detail"])
    await api.store.put_bytes(api.key(game_id), data)
    assert (await finalize(api, game_id, [], 200))["status"] == "ready"


async def test_finalizing_again_answers_the_same(api: Api, make_video: Callable[..., bytes]) -> None:
    game = await api.upload(make_video())
    assert await finalize(api, game["id"], [], 200) == game


async def test_finalizing_many_times_at_once_answers_the_same(api: Api, make_video: Callable[..., bytes]) -> None:
    data = make_video()
    game_id = (await api.prepare(data))["game_id"]
    await api.store.put_bytes(api.key(game_id), data)
    answers = await asyncio.gather(*(finalize(api, game_id, [], 200) for _ in range(5)))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["status"] == "ready"


async def test_finalizing_a_file_that_is_no_video_many_times_at_once_leaves_nothing(api: Api) -> None:
    data = b"this is no video\n" * 500
    game_id = (await api.prepare(data))["game_id"]
    await api.store.put_bytes(api.key(game_id), data)
    path = f"/api/games/{game_id}/finalize-upload"
    asked = (api.client.post(path, json={"parts": []}, headers=api.headers) for _ in range(5))
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*asked))
    assert 422 in statuses
    assert set(statuses) <= {404, 409, 422}
    await assert_nothing_stored(api, game_id)


async def test_a_game_that_is_deleted_while_it_is_looked_at_is_gone(
    api: Api, make_video: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*asked: Any, **options: Any) -> Any:
        looking.set()
        await go_on.wait()
        return await inspect(*asked, **options)

    monkeypatch.setattr(uploads, "inspect", slow)
    data = make_video()
    game_id = (await api.prepare(data))["game_id"]
    await api.store.put_bytes(api.key(game_id), data)
    path = f"/api/games/{game_id}/finalize-upload"
    finalizing = asyncio.create_task(api.client.post(path, json={"parts": []}, headers=api.headers))
    await looking.wait()
    await api.call("DELETE", f"/api/games/{game_id}", expect=204)
    go_on.set()
    assert (await finalizing).status_code in (404, 409, 422)
    await assert_nothing_stored(api, game_id)


async def test_few_uploads_are_looked_at_at_a_time(
    api: Api, make_video: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, all_run = 0, 0, asyncio.Event()

    async def counted(*asked: Any, **options: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == INSPECTIONS_AT_ONCE:
            all_run.set()
        await all_run.wait()
        try:
            return await inspect(*asked, **options)
        finally:
            running -= 1

    monkeypatch.setattr(uploads, "inspect", counted)
    async with asyncio.timeout(240):
        await asyncio.gather(*(api.upload(make_video()) for _ in range(6)))
    assert most == INSPECTIONS_AT_ONCE


async def test_a_large_video_goes_up_in_equal_parts_of_at_least_5_mib(api: Api) -> None:
    upload = (await api.prepare(b"", size=300 * MIB + 5))["upload"]
    sizes = [part["size"] for part in upload["parts"]]
    assert upload["method"] == "multipart"
    assert sum(sizes) == 300 * MIB + 5
    assert set(sizes[:-1]) == {upload["part_size"]}
    assert 5 * MIB <= upload["part_size"] >= sizes[-1]
    assert [part["part_number"] for part in upload["parts"]] == list(range(1, len(sizes) + 1))


async def test_a_multipart_upload_finalized_without_parts_stays_open(api: Api) -> None:
    prepared = await api.prepare(b"", size=70 * MIB)
    problem = await finalize(api, prepared["game_id"], [], 422)
    assert "missing: [1, 2, 3, 4, 5]" in str(problem["detail"])
    assert (await api.call("GET", f"/api/games/{prepared['game_id']}"))["status"] == "uploading"


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"size": 0}, "body.size"),
        ({"size": "12"}, "body.size"),
        ({"size": 11 * 1024**3}, "body.size"),
        ({"filename": "../../a.mp4"}, "body.filename"),
        ({"filename": "a.exe"}, "body.filename"),
        *(({"filename": f"a.{ending}"}, "into an MP4") for ending in ("mpg", "MPEG", "wmv", "vob")),
        ({"content_type": "text/html"}, "body.content_type"),
        ({"extra": 1}, "body.extra"),
        ({"name": ""}, "body.name"),
    ],
)
async def test_a_wrong_preparation_is_refused_naming_the_field(
    api: Api, changes: dict[str, object], names: str
) -> None:
    body = {"name": "A", "filename": "a.mp4", "content_type": "video/mp4", "size": 10, **changes}
    problem = await api.call("POST", "/api/games/prepare-upload", body, expect=422)
    assert names in problem["detail"]
    assert (await api.call("GET", "/api/games"))["games"] == []


@pytest.mark.parametrize("path", ["..%2F..%2Fother", "a.b", "-x", "x" * 65])
async def test_a_path_like_id_is_refused(api: Api, path: str) -> None:
    answer = await api.client.get(f"/api/games/{path}", headers=api.headers)
    assert answer.status_code in (404, 422)


async def test_a_game_with_clips_goes_only_with_cascade_and_takes_its_files_along(
    api: Api, make_video: Callable[..., bytes], store: FakeStore
) -> None:
    game = await api.upload(make_video())
    clip = await api.clip(game["id"], 0, 1)
    await store.put_bytes(f"{PREFIX}clips/{clip}.mp4", b"x")
    await api.call("DELETE", f"/api/games/{game['id']}", expect=409)
    assert api.key(game["id"]) in stored(store)
    await api.call("DELETE", f"/api/games/{game['id']}?cascade=true", expect=204)
    left = [(key, data) for key, (data, *_) in store.objects.items() if "/games/" in key or "/clips/" in key]
    assert left == [(api.key(game["id"]), b"")]
    await api.call("GET", f"/api/clips/{clip}", expect=404)


@pytest.mark.parametrize(("start", "end"), [(0, 9), (2, 1), (-1, 1), (1, 1.01)])
async def test_a_clip_outside_of_its_game_is_refused(
    api: Api, make_video: Callable[..., bytes], start: float, end: float
) -> None:
    game = await api.upload(make_video())
    body = {"game_id": game["id"], "name": "c", "start": start, "end": end}
    problem = await api.call("POST", "/api/clips", body, expect=422)
    assert "body." in problem["detail"]
    assert (await api.call("GET", "/api/clips"))["clips"] == []


async def begun(api: Api, app: FastAPI, at: str, size: int) -> str:
    """The id of an upload whose URLs were last asked for at that time."""
    game_id = str((await api.prepare(b"", size=size))["game_id"])

    def change(connection: apsw.Connection) -> None:
        execute(connection, "UPDATE games SET updated_at = ? WHERE id = ?", (at, game_id))

    async with app.state.core.databases.session(CONTEXT) as session:
        await session.write(change)
    return game_id


async def test_an_upload_that_is_never_finished_is_swept_with_what_was_sent(
    api: Api, app: FastAPI, make_video: Callable[..., bytes]
) -> None:
    kept = await api.upload(make_video())
    old = await begun(api, app, "2020-01-01T00:00:00.000Z", 5)
    in_parts = await begun(api, app, "2020-01-01T00:00:00.000Z", 300 * MIB)
    new = await begun(api, app, timestamps.now(), 5)
    for game_id in (old, new):
        await api.store.put_bytes(api.key(game_id), b"x")
    assert await sweep(app.state.core, CONTEXT) == 2
    for game_id in (old, in_parts):
        await api.call("GET", f"/api/games/{game_id}", expect=404)
    assert api.store.uploads == {}
    assert [key for key in stored(api.store) if "/games/" in key] == sorted([api.key(kept["id"]), api.key(new)])
    assert await sweep(app.state.core, CONTEXT) == 0


async def test_an_old_upload_that_goes_on_during_a_sweep_stays(
    api: Api, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    game_id = await begun(api, app, "2020-01-01T00:00:00.000Z", 5)
    write = steps.write

    async def after_new_urls(*given: Any) -> Any:
        await api.call("POST", f"/api/games/{game_id}/upload-urls")
        return await write(*given)

    monkeypatch.setattr(steps, "write", after_new_urls)
    await sweep(app.state.core, CONTEXT)
    assert (await api.call("GET", f"/api/games/{game_id}"))["status"] == "uploading"


async def test_an_old_upload_that_is_finalized_during_a_sweep_becomes_a_game(
    api: Api, app: FastAPI, make_video: Callable[..., bytes]
) -> None:
    data = make_video()
    game_id = await begun(api, app, "2020-01-01T00:00:00.000Z", len(data))
    await api.store.put_bytes(api.key(game_id), data)
    api.store.gates["head"] = asyncio.Event()
    finalizing = asyncio.ensure_future(finalize(api, game_id, [], 200))
    await api.store.called("head", api.key(game_id))
    await sweep(app.state.core, CONTEXT)
    api.store.gates.pop("head").set()
    assert (await finalizing)["status"] == "ready"


async def test_a_file_without_a_game_is_swept_when_no_restore_can_bring_its_row_back(
    api: Api, app: FastAPI, make_video: Callable[..., bytes]
) -> None:
    game = await api.upload(make_video())
    await api.store.put_bytes(api.key("game_none"), b"x")
    api.store.clock += 29 * 86_400
    assert await sweep(app.state.core, CONTEXT) == 0
    api.store.clock += 2 * 86_400
    assert await sweep(app.state.core, CONTEXT) == 1
    assert [key for key in stored(api.store) if "/games/" in key] == [api.key(game["id"])]


@pytest.mark.parametrize("name", ["clips/{clip}.mp4", "clips/{clip}-1.mp4", "exports/{export}.mp4"])
async def test_a_file_of_no_clip_and_no_export_is_swept_and_those_of_rows_stay(
    api: Api, app: FastAPI, make_video: Callable[..., bytes], name: str
) -> None:
    game = await api.upload(make_video())
    clip = await api.clip(game["id"], 0, 1)
    export = (await api.export([clip]))["id"]
    await api.over(f"/api/exports/{export}")
    kept, orphan = name.format(clip=clip, export=export), name.format(clip="clip_none", export="export_none")
    for key in (kept, orphan):
        await api.store.put_bytes(PREFIX + key, b"x")
    api.store.clock += 29 * 86_400
    assert await sweep(app.state.core, CONTEXT) == 0
    api.store.clock += 2 * 86_400
    assert await sweep(app.state.core, CONTEXT) == 1
    assert PREFIX + orphan not in stored(api.store)
    assert {PREFIX + kept, api.key(game["id"])} <= set(stored(api.store))


async def test_pieces_of_an_export_that_was_given_up_are_swept_after_a_day(api: Api, app: FastAPI) -> None:
    api.store.clock += 60
    exports = api.key("").split("games/")[0] + "exports/"
    for name in ("e.pieces/r/a.mov", "e.mp4"):
        await api.store.put_bytes(exports + name, b"x")
    assert await sweep(app.state.core, CONTEXT) == 0
    api.store.clock += 86_400 + 60
    assert await sweep(app.state.core, CONTEXT) == 1
    assert [key for key in stored(api.store) if "/exports/" in key] == [exports + "e.mp4"]


async def test_a_sweep_that_finds_nothing_writes_nothing(api: Api, app: FastAPI) -> None:
    before = stored(api.store)
    assert await sweep(app.state.core, CONTEXT) == 0
    assert stored(api.store) == before


async def test_the_urls_of_ten_gibibytes_are_signed_in_one_answer(make_settings: Callable[..., Settings]) -> None:
    store = R2Store(make_settings())
    parts = plan_parts(10 * 1024 * MIB, make_settings())
    urls = await store.presign_parts("dev/v.mp4", "upload", [part.size for part in parts])
    assert len(urls) == len(parts) == 640
    assert all("content-length" in url and f"partNumber={number}" in url for number, url in enumerate(urls, 1))
    await store.close()
