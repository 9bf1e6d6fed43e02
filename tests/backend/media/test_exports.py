"""Exports from upload to file, with ffmpeg on the Machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.backend.media.conftest import PREFIX, Api, stored

from reel.probe import probe
from reel.tools import find_tools


async def test_a_reel_goes_all_the_way_from_upload_to_file(
    api: Api, make_video: Callable[..., bytes], tmp_path: Path
) -> None:
    game = await api.upload(make_video())
    assert (game["status"], game["video_codec"], game["audio_codec"]) == ("ready", "h264", "aac")
    assert (game["width"], game["height"], round(game["duration"])) == (320, 180, 3)
    clips = [await api.clip(game["id"], 0, 1), await api.clip(game["id"], 1.5, 2.5)]
    job = await api.over(f"/api/exports/{(await api.export(clips, overlay_text='Final'))['id']}")
    assert (job["status"], job["progress"], job["reason"]) == ("complete", 1, None)
    path = tmp_path / "out.mp4"
    await api.store.download(PREFIX + job["key"], path)
    media = await probe(path, tools=find_tools())
    assert (media.video.codec, media.video.width, media.video.height) == ("h264", 854, 480)
    assert abs(media.duration_s - 2) < 0.1
    assert job["size"] == path.stat().st_size


async def test_an_extraction_gives_the_clip_a_file(api: Api, make_video: Callable[..., bytes]) -> None:
    game = await api.upload(make_video())
    clip = await api.clip(game["id"], 0.5, 2)
    extraction = await api.call("POST", f"/api/clips/{clip}/extract", expect=202)
    assert (await api.over(f"/api/extractions/{extraction['id']}"))["status"] == "complete"
    shown = await api.call("GET", f"/api/clips/{clip}")
    assert (shown["status"], shown["key"]) == ("ready", f"clips/{clip}.mp4")
    assert PREFIX + shown["key"] in stored(api.store)
    await api.call("PATCH", f"/api/clips/{clip}", {"end": 1.5})
    assert (await api.call("GET", f"/api/clips/{clip}"))["status"] == "new"


async def test_a_source_that_is_gone_fails_the_export_with_the_reason_and_a_retry_renders_it(
    api: Api, make_video: Callable[..., bytes]
) -> None:
    video = make_video()
    game = await api.upload(video)
    clip = await api.clip(game["id"], 0, 1)
    await api.store.delete(api.key(game["id"]))
    export = (await api.export([clip]))["id"]
    failed = await api.over(f"/api/exports/{export}")
    assert failed["status"] == "failed"
    assert "storage" in failed["reason"].lower()
    assert failed["key"] is None
    await api.store.put_bytes(api.key(game["id"]), video)
    await api.call("POST", f"/api/exports/{export}/retry", expect=202)
    assert (await api.over(f"/api/exports/{export}"))["status"] == "complete"


async def test_an_empty_project_is_refused_and_leaves_no_export(api: Api) -> None:
    project = await api.call("POST", "/api/projects", {"name": "P"}, expect=201)
    problem = await api.call("POST", "/api/exports", {"project_id": project["id"]}, expect=422)
    assert "1 to 50 clips" in problem["detail"]
    assert (await api.call("GET", "/api/exports"))["exports"] == []


async def test_a_text_that_cannot_be_drawn_is_refused_by_name_and_changes_nothing(
    api: Api, make_video: Callable[..., bytes]
) -> None:
    options = {"overlay_text": "Müller \ue000"}
    refused = await api.call("POST", "/api/projects", {"name": "P", "options": options}, expect=422)
    assert "(U+E000" in str(refused)
    project = await api.call("POST", "/api/projects", {"name": "P", "options": {"overlay_text": "Müller"}}, expect=201)
    await api.call("PATCH", f"/api/projects/{project['id']}", {"options": options}, expect=422)
    shown = await api.call("GET", f"/api/projects/{project['id']}")
    assert shown["options"]["overlay_text"] == "Müller"
