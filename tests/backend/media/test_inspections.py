"""Large recordings whose ends do not prove the rest are `inspecting` until a job has read all of them."""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from tests.backend.fakes import FakeStore, Fault
from tests.backend.media.conftest import PREFIX, Api, until
from tests.backend.media.test_jobs import CONTEXT, serve

from app import timestamps
from app.core import Core
from app.db.rows import execute
from app.games import inspections, uploads, validation
from app.games.sweep import sweep
from app.games.validation import AT_ONCE_BYTES, inspect
from app.jobs import rows, runner
from app.jobs.models import JobKind
from app.settings import Settings
from app.storage.interface import StorageUnavailable
from app.storage.retry import Policy
from reel.payloads import ExtractClip, PayloadError
from reel.tools import find_tools

MIB = 1024 * 1024


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inspections")


def recording(folder: Path, *, megabytes: int = 0, changed: bool = False) -> tuple[bytes, float]:
    """An MPEG-TS of three parts with one clock, and its length; with `changed`, the short one in the middle is in
    another codec. The other two are copies of one part, repeated up to about the size."""
    plain, other = folder / "part.ts", folder / "other.ts"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=8"]
    sound = ["-f", "lavfi", "-i", "sine=duration=8", "-c:a", "aac", "-pix_fmt", "yuv420p", "-threads", "1"]
    rate = ["-b:v", "12M", "-minrate", "12M", "-maxrate", "12M", "-bufsize", "6M", "-g", "25", "-bf", "0"]
    x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "nal-hrd=cbr"]
    if not plain.exists():
        ffmpeg(*picture, *sound, *x264, *rate, str(plain))
        ffmpeg(*picture, *sound, "-c:v", "mpeg2video", "-b:v", "2M", "-g", "25", "-t", "2", str(other))
    loops = max(0, megabytes * MIB // 2 // plain.stat().st_size - 1)
    half_s, middle_s = 8.0 * (loops + 1), 2.0 if changed else 8.0
    data, at_s = b"", 10.0
    parts = ((plain, half_s), (other if changed else plain, middle_s), (plain, half_s))
    for number, (source, seconds) in enumerate(parts):
        path = folder / f"{number}.ts"
        ffmpeg(
            *("-stream_loop", str(loops if number != 1 else 0), "-i", str(source), "-c", "copy"),
            *("-output_ts_offset", str(at_s), "-muxdelay", "0", str(path)),
        )
        data += path.read_bytes()
        at_s += seconds
    return data, at_s - 10


def ffmpeg(*arguments: str) -> None:
    environment = {**os.environ, "GCONV_PATH": "/nonexistent"}  # as in reel.run
    subprocess.run([find_tools().ffmpeg, "-v", "error", "-y", *arguments], check=True, env=environment)


async def upload(api: Api, data: bytes) -> Any:
    """What finalize says of a recording."""
    prepared = await api.prepare(data, "match.ts")
    await api.store.put_bytes(api.key(prepared["game_id"], "ts"), data)
    return await finalize(api, prepared["game_id"])


async def finalize(api: Api, game_id: str, expect: int = 200) -> Any:
    return await api.call("POST", f"/api/games/{game_id}/finalize-upload", {"parts": []}, expect=expect)


async def inspected(api: Api, game_id: str) -> Any:
    return await until(lambda: api.call("GET", f"/api/games/{game_id}"), lambda game: game["status"] != "inspecting")


class Held:
    """Inspections that begin when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.go = asyncio.Event()
        monkeypatch.setattr(inspections, "inspect", self.inspect)
        monkeypatch.setattr(uploads, "AT_ONCE_BYTES", 0)

    async def inspect(self, *asked: Any, **options: Any) -> Any:
        self.begun += 1
        await self.go.wait()
        return await inspect(*asked, **options)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


async def test_two_seconds_in_another_codec_are_found_before_the_first_cut(api: Api, folder: Path) -> None:
    data, _ = recording(folder, megabytes=60, changed=True)
    assert len(data) > 45 * MIB > AT_ONCE_BYTES
    game = await upload(api, data)
    assert (game["status"], game["duration"]) == ("inspecting", None)
    game = await inspected(api, game["id"])
    assert game["status"] == "refused"
    assert "changes the format" in game["reason"]
    key = api.key(game["id"], "ts")

    async def size() -> int:
        return len(api.store.objects[key][0])

    assert await until(size, lambda left: left == 0) == 0  # the space is free, the URL of the upload is dead
    assert "changes the format" in (await finalize(api, game["id"], expect=422))["detail"]
    body = {"game_id": game["id"], "name": "c", "start": 0, "end": 1}
    assert "changes the format" in (await api.call("POST", "/api/clips", body, expect=409))["detail"]
    await api.call("DELETE", f"/api/games/{game['id']}", expect=204)
    assert (await api.call("GET", "/api/games"))["games"] == []


async def test_a_long_recording_is_ready_when_all_of_it_was_read(api: Api, folder: Path) -> None:
    data, seconds = recording(folder, megabytes=60)
    game = await upload(api, data)
    assert game["status"] == "inspecting"
    game = await inspected(api, game["id"])
    assert (game["status"], game["video_codec"], game["width"], game["reason"]) == ("ready", "h264", 640, None)
    assert game["duration"] == pytest.approx(seconds, abs=0.1)
    await api.clip(game["id"], seconds - 1, seconds)


async def test_a_small_recording_is_ready_at_once(api: Api, folder: Path) -> None:
    data, seconds = recording(folder)
    assert len(data) <= AT_ONCE_BYTES
    game = await upload(api, data)
    assert (game["status"], game["progress"]) == ("ready", None)
    assert game["duration"] == pytest.approx(seconds, abs=0.1)


async def test_what_needs_a_ready_game_says_that_it_is_being_inspected(
    app: FastAPI, api: Api, folder: Path, held: Held
) -> None:
    game = await upload(api, recording(folder)[0])
    again = await finalize(api, game["id"])
    assert (again["status"], again["id"]) == ("inspecting", game["id"])
    clip = {"game_id": game["id"], "name": "c", "start": 0, "end": 1}
    for method, path, body in (
        ("POST", "/api/clips", clip),
        ("POST", f"/api/games/{game['id']}/preview", None),
        ("POST", f"/api/games/{game['id']}/upload-urls", None),
    ):
        problem = await api.call(method, path, body, expect=409)
        assert "inspected" in problem["detail"] or "finished" in problem["detail"], problem
    assert (await api.call("PATCH", f"/api/games/{game['id']}", {"name": "B"}))["name"] == "B"
    assert (await api.call("GET", "/api/extractions"))["extractions"] == []
    held.go.set()
    assert (await inspected(api, game["id"]))["status"] == "ready"
    assert held.begun == 1


async def test_a_game_that_is_deleted_while_it_is_inspected_is_gone(
    app: FastAPI, api: Api, folder: Path, held: Held
) -> None:
    game = await upload(api, recording(folder)[0])
    await until(lambda: one(held), lambda begun: begun == 1)
    await api.call("DELETE", f"/api/games/{game['id']}", expect=204)
    tasks = list(app.state.runner._tasks.values())
    if tasks:
        await asyncio.wait(tasks, timeout=120)
    held.go.set()
    assert (await api.call("GET", "/api/games"))["games"] == []
    assert [data for key, (data, *_) in api.store.objects.items() if "/games/" in key and data] == []
    assert await job_statuses(app) == ["cancelled"]


async def one(held: Held) -> int:
    return held.begun


async def job_statuses(app: FastAPI) -> list[str]:
    core: Core = app.state.core
    async with core.databases.session(CONTEXT) as session:
        jobs = await session.read(lambda connection: rows.of_kind(connection, JobKind.INSPECTION))
    return [job.status.value for job in jobs]


async def test_an_inspection_that_a_stop_ended_is_done_by_the_next_process(
    make_settings: Callable[..., Settings], store: FakeStore, folder: Path, held: Held
) -> None:
    data, seconds = recording(folder)

    async def begin(app: FastAPI, api: Api) -> Any:
        game = await upload(api, data)
        await until(lambda: one(held), lambda begun: begun == 1)
        return game

    async def resume(app: FastAPI, api: Api) -> Any:
        held.go.set()
        return await inspected(api, game["id"])

    game = await serve(store, make_settings(), begin)
    assert game["status"] == "inspecting"
    game = await serve(store, make_settings(), resume)
    assert (game["status"], held.begun) == ("ready", 2)
    assert game["duration"] == pytest.approx(seconds, abs=0.1)


class Far(FakeStore):
    """A store that counts the bytes that are read of recordings, and answers no read in the middle where `held`."""

    bytes_read = 0
    held = range(0)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        if key.endswith("source.ts"):
            if start in self.held:
                await asyncio.Event().wait()
            self.bytes_read += length
        return await super().get_range(key, start, length)


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("clocks", [1, 2])
async def test_an_inspection_goes_on_where_the_last_process_was(
    make_settings: Callable[..., Settings], folder: Path, monkeypatch: pytest.MonkeyPatch, killed: bool, clocks: int
) -> None:
    data, seconds = recording(folder)
    data = data if clocks == 1 else data[: len(data) // 376 * 188] * 2
    piece, ends = 64 * 1024, 512 * 1024
    hold_at = len(data) // 2 - 20 * piece
    store = Far()
    monkeypatch.setattr(uploads, "AT_ONCE_BYTES", 0)
    for module, name, value in (
        (validation, "PIECE_BYTES", piece),
        (validation, "HEAD_BYTES", ends),
        (validation, "TAIL_BYTES", ends),
        (runner, "BEAT_SECONDS", 0.05),
    ):
        monkeypatch.setattr(module, name, value)

    async def begin(app: FastAPI, api: Api) -> Any:
        store.held = range(hold_at, len(data) - 2 * ends)
        prepared = await api.prepare(data, "match.ts")
        await store.put_bytes(api.key(prepared["game_id"], "ts"), data)
        game = await finalize(api, prepared["game_id"])
        core: Core = app.state.core

        async def reached() -> int:
            async with core.databases.session(CONTEXT) as session:
                (job,) = await session.read(rows.unfinished)
            return ast.literal_eval(job.checkpoint)[2] if job.checkpoint else 0

        await until(reached, lambda at: at > hold_at - 5 * piece)
        if killed:
            monkeypatch.setattr(rows, "release", lambda *_: False)
        return game

    async def resume(app: FastAPI, api: Api) -> Any:
        store.held, store.bytes_read = range(0), 0
        return await inspected(api, game["id"])

    game = await serve(store, make_settings(), begin)
    assert game["status"] == "inspecting"
    game = await serve(store, make_settings(), resume)
    if clocks == 1:
        assert (game["status"], game["duration"]) == ("ready", pytest.approx(seconds, abs=0.1))
    else:
        assert "clock" in game["reason"]
    assert store.bytes_read <= len(data) - hold_at + 5 * piece + 2 * (ends + piece)


async def test_two_processes_that_finish_one_upload_have_one_inspection(
    make_settings: Callable[..., Settings], store: FakeStore, folder: Path, held: Held
) -> None:
    data, seconds = recording(folder)

    async def first(app: FastAPI, api: Api) -> Any:
        async def second(other: FastAPI, elsewhere: Api) -> Any:
            again = await finalize(elsewhere, game["id"])
            assert again["status"] == "inspecting"
            held.go.set()
            return await inspected(elsewhere, game["id"])

        game = await upload(api, data)
        await until(lambda: one(held), lambda begun: begun == 1)
        seen = await serve(store, make_settings(USER_DATA_DIR=str(folder / "second")), second)
        assert await inspected(api, game["id"]) == seen
        assert await job_statuses(app) == ["complete"]
        return seen

    game = await serve(store, make_settings(), first)
    assert game["status"] == "ready"
    assert game["duration"] == pytest.approx(seconds, abs=0.1)


async def test_another_machine_leaves_an_inspection_to_its_owner_and_goes_on_with_it_afterwards(
    make_settings: Callable[..., Settings], store: FakeStore, folder: Path, held: Held
) -> None:
    data, seconds = recording(folder)

    async def first(app: FastAPI, api: Api) -> Any:
        async def second(other: FastAPI, elsewhere: Api) -> None:
            path = f"/api/games/{game['id']}/finalize-upload"
            answer = await elsewhere.client.post(path, json={"parts": []}, headers=elsewhere.headers)
            assert (answer.status_code, answer.text) == (503, "Machine a serves this profile")

        game = await upload(api, data)
        await until(lambda: one(held), lambda begun: begun == 1)
        await serve(store, make_settings(FLY_MACHINE_ID="b"), second)
        assert held.begun == 1
        return game

    async def afterwards(app: FastAPI, api: Api) -> Any:
        held.go.set()
        found = await inspected(api, game["id"])
        assert await job_statuses(app) == ["complete"]
        return found

    game = await serve(store, make_settings(FLY_MACHINE_ID="a"), first)
    game = await serve(store, make_settings(FLY_MACHINE_ID="b"), afterwards)
    assert (game["status"], held.begun) == ("ready", 2)
    assert game["duration"] == pytest.approx(seconds, abs=0.1)


@pytest.fixture
def outage(api: Api, monkeypatch: pytest.MonkeyPatch) -> Fault:
    """The store refuses to read recordings as soon as a job inspects one; finalize has read its ends before."""
    fault = Fault("get", StorageUnavailable("R2 is down"), key="/source.ts", times=0)

    async def later(*asked: Any, **options: Any) -> Any:
        api.store.faults.append(fault)
        return await inspect(*asked, **options)

    monkeypatch.setattr(uploads, "AT_ONCE_BYTES", 0)
    monkeypatch.setattr(inspections, "inspect", later)
    monkeypatch.setattr(inspections, "RETRY", Policy(attempts=1_000_000, first=0.01, longest=0.01))
    return fault


async def test_an_outage_of_the_store_is_waited_for(api: Api, folder: Path, outage: Fault) -> None:
    outage.times = 30
    game = await upload(api, recording(folder)[0])
    assert (await inspected(api, game["id"]))["status"] == "ready"
    assert outage.times == 0


async def test_an_outage_without_end_is_told_at_the_deadline_and_the_upload_is_finalized_again(
    api: Api, folder: Path, outage: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage.times = 10**9
    with monkeypatch.context() as short:
        short.setattr(inspections, "SPARE_SECONDS", 3.0)
        short.setattr(inspections, "LEAST_BYTES_PER_S", 10**12)
        game = await upload(api, recording(folder)[0])
        failed = await inspected(api, game["id"])
    assert failed["status"] == "failed"
    assert "R2 is down" in failed["reason"]
    body = {"game_id": failed["id"], "name": "c", "start": 0, "end": 1}
    assert "finalize its upload again" in (await api.call("POST", "/api/clips", body, expect=409))["detail"]
    outage.times = 0
    assert (await finalize(api, failed["id"]))["status"] == "inspecting"
    assert (await inspected(api, failed["id"]))["status"] == "ready"


async def test_an_inspection_that_an_older_release_has_failed_can_be_made_again(
    app: FastAPI, api: Api, folder: Path, held: Held
) -> None:
    game = await upload(api, recording(folder)[0])
    await until(lambda: one(held), lambda begun: begun == 1)
    core: Core = app.state.core
    async with core.databases.session(CONTEXT) as session:
        (job,) = await session.read(lambda connection: rows.of_kind(connection, JobKind.INSPECTION))
        with pytest.raises(PayloadError):  # which takes it for an extraction
            ExtractClip.from_dict(job.payload)
        await session.write(lambda connection: rows.fail(connection, job.id, "PayloadError: source"))
    assert (await api.call("GET", f"/api/games/{game['id']}"))["status"] == "failed"
    held.go.set()
    assert (await finalize(api, game["id"]))["status"] == "inspecting"
    assert (await inspected(api, game["id"]))["status"] == "ready"


async def test_the_sweep_leaves_games_that_are_inspected_or_were_refused(
    app: FastAPI, api: Api, folder: Path, held: Held
) -> None:
    game = await upload(api, recording(folder)[0])
    core: Core = app.state.core
    old = timestamps.text(0)
    async with core.databases.session(CONTEXT) as session:
        await session.write(lambda connection: execute(connection, "UPDATE games SET updated_at = ?", (old,)))
    assert await sweep(core, CONTEXT) == 0
    held.go.set()
    assert (await inspected(api, game["id"]))["status"] == "ready"
    assert PREFIX + game["key"] in api.store.objects
