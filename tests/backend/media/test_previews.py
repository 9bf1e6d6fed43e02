"""Previews: a small copy of a game that a browser cannot play."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from tests.backend.fakes import FakeStore
from tests.backend.media.conftest import PREFIX, Api, SecondPiece, stored, until
from tests.backend.media.test_jobs import hold, serve

from app.games import previews
from app.settings import Settings
from reel import plan, render
from reel.ffmpeg import AAC_RATE, MIN_VIDEO_RATE, Segment
from reel.probe import probe
from reel.run import run_ffmpeg
from reel.tools import find_tools


def files(api: Api) -> list[str]:
    """Files of games that hold anything. (An empty one keeps the URL of an upload from being used again.)"""
    return [key for key, (data, *_) in api.store.objects.items() if "/games/" in key and data]


async def shown(api: Api, game_id: str) -> dict[str, object]:
    made = await until(
        lambda: api.call("GET", f"/api/games/{game_id}"),
        lambda game: game["preview"]["status"] not in ("pending", "processing"),
    )
    found: dict[str, object] = made["preview"]
    return found


async def test_a_preview_shows_every_frame_of_the_game_and_goes_with_it(
    api: Api, make_video: Callable[..., bytes], tmp_path: Path
) -> None:
    game = await api.upload(make_video())
    assert (game["preview"], game["frame_rate"]) == (None, 30.0)
    first = await api.call("POST", f"/api/games/{game['id']}/preview", expect=202)
    assert first["preview"]["status"] in ("pending", "processing")
    preview = await shown(api, game["id"])
    assert preview == {
        "status": "complete", "progress": 1.0, "reason": None, "key": f"games/{game['id']}/preview.mp4",
    }  # fmt: skip
    url = await api.call("GET", f"/api/storage/url?key={preview['key']}")
    assert url["url"]
    path = tmp_path / "preview.mp4"
    await api.store.download(f"{PREFIX}{preview['key']}", path)
    media = await probe(path, tools=find_tools())
    assert (media.video.codec, str(media.video.fps), round(media.duration_s, 1)) == ("h264", "30", 3.0)
    await api.call("DELETE", f"/api/games/{game['id']}", expect=204)
    assert files(api) == []


async def test_a_game_of_a_second_has_a_preview_too(api: Api, make_video: Callable[..., bytes]) -> None:
    game = (await api.upload(make_video(seconds=1)))["id"]
    await api.call("POST", f"/api/games/{game}/preview", expect=202)
    assert (await shown(api, game))["status"] == "complete"


async def test_asking_again_begins_no_second_preview_and_one_that_failed_is_made_anew(
    api: Api, make_video: Callable[..., bytes]
) -> None:
    video = make_video()
    game = (await api.upload(video))["id"]
    await api.store.delete(api.key(game))
    await api.call("POST", f"/api/games/{game}/preview", expect=202)
    failed = await shown(api, game)
    assert (failed["status"], failed["key"]) == ("failed", None)
    assert failed["reason"]
    await api.store.put_bytes(api.key(game), video)
    await api.call("POST", f"/api/games/{game}/preview", expect=202)
    assert (await shown(api, game))["key"] == f"games/{game}/preview-1.mp4"
    again = await api.call("POST", f"/api/games/{game}/preview", expect=202)
    assert again["preview"]["status"] == "complete"


async def test_a_preview_is_no_extraction_of_a_clip(api: Api, make_video: Callable[..., bytes]) -> None:
    game = (await api.upload(make_video()))["id"]
    await api.call("POST", f"/api/games/{game}/preview", expect=202)
    await shown(api, game)
    assert (await api.call("GET", "/api/extractions"))["extractions"] == []


async def test_deleting_the_game_ends_its_preview(app: FastAPI, api: Api, make_video: Callable[..., bytes]) -> None:
    worker = hold(app)
    game = (await api.upload(make_video()))["id"]
    await api.call("POST", f"/api/games/{game}/preview", expect=202)
    await until(lambda: api.call("GET", f"/api/games/{game}"), lambda seen: seen["preview"]["status"] == "processing")
    await api.call("DELETE", f"/api/games/{game}", expect=204)

    async def running() -> int:
        return len(app.state.runner._tasks)

    await until(running, lambda count: count == 0)
    worker.go.set()
    assert files(api) == []


async def test_an_export_waits_for_one_piece_of_a_preview_and_not_for_all_of_it(
    app: FastAPI, api: Api, make_video: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "PIECE_SECONDS", 1)
    encoded: list[str] = []
    first, go_on = asyncio.Event(), asyncio.Event()

    async def noted(command: Sequence[str], **options: Any) -> int:
        encoded.append("/".join(command[-1].split("/")[-2:]).partition("_")[0] + " " + command[-1].rsplit("/", 1)[-1])
        if not first.is_set():
            first.set()
            await go_on.wait()
        return await run_ffmpeg(command, **options)

    monkeypatch.setattr(render, "run_ffmpeg", noted)
    game = (await api.upload(make_video()))["id"]
    await api.call("POST", f"/api/games/{game}/preview", expect=202)
    await asyncio.wait_for(first.wait(), 120)
    export = (await api.export([await api.clip(game, 0, 1)]))["id"]
    turn = app.state.runner._worker._others._turn

    async def waiting() -> int:
        return len(turn._waiters or ())

    # Its row says "processing" before it asks for its turn.
    await until(waiting, lambda count: count == 1)
    go_on.set()
    assert (await api.over(f"/api/exports/{export}"))["status"] == "complete"
    assert (await shown(api, game))["status"] == "complete"
    order = [name.split()[0] for name in encoded]
    assert order[:3] == ["preview", "export", "export"]
    assert order[3:] == ["preview"] * 3, "two pieces and the join"


async def test_a_preview_that_a_stop_ended_goes_on_behind_the_pieces_it_had(
    make_settings: Callable[..., Settings],
    store: FakeStore,
    make_video: Callable[..., bytes],
    second_piece: SecondPiece,
    tmp_path: Path,
) -> None:
    async def begin(_: FastAPI, api: Api) -> str:
        game: str = (await api.upload(make_video()))["id"]
        await api.call("POST", f"/api/games/{game}/preview", expect=202)
        await asyncio.wait_for(second_piece.begun.wait(), 120)
        return game

    async def resume(_: FastAPI, api: Api) -> Any:
        return await shown(api, game)

    game = await serve(store, make_settings(), begin)
    preview = await serve(store, make_settings(), resume)
    assert preview["status"] == "complete"
    assert second_piece.encoded == ["piece-000.mov", *["piece-001.mov"] * 2, "piece-002.mov", "clip.mp4"]
    path = tmp_path / "preview.mp4"
    await store.download(f"{PREFIX}{preview['key']}", path)
    assert (await probe(path, tools=find_tools())).duration_s == pytest.approx(3, abs=0.05)
    assert [key for key in stored(store) if ".pieces/" in key] == []


async def test_a_game_that_is_being_uploaded_has_no_preview(api: Api) -> None:
    game = (await api.prepare(b"12345"))["game_id"]
    await api.call("POST", f"/api/games/{game}/preview", expect=409)


async def test_the_preview_of_a_long_game_is_no_larger_than_that_of_a_short_one_may_be(
    api: Api, make_video: Callable[..., bytes], tmp_path: Path
) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(make_video())
    media = await probe(source, tools=find_tools())

    def rate(minutes: int) -> int | None:
        piece = Segment(
            source, media, 0.0, minutes * 1800, 30, 854, 480, "draft", max_bytes=previews.MAX_BYTES  # type: ignore[arg-type]
        )  # fmt: skip
        return piece.bit_rate

    long = rate(180) or 0
    assert (long + AAC_RATE) * 180 * 60 / 8 <= previews.MAX_BYTES
    assert rate(180 * 100) == MIN_VIDEO_RATE
    assert (rate(1) or 0) > 10_000_000
