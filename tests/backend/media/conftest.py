"""Media tests: real video made by ffmpeg, and shortcuts through the API."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.backend.fakes import FakeStore

from app.games import decoding, validation
from app.jobs import runner
from reel import plan, render
from reel.run import run_ffmpeg
from reel.tools import find_tools

PREFIX = "staging/users/alice/profiles/main/"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer deadlines for ffmpeg and for the end of a job, because a busy machine may exceed the product's."""
    monkeypatch.setattr(validation, "PROBE_SECONDS", 240)
    monkeypatch.setattr(decoding, "DECODE_SECONDS", 240)
    monkeypatch.setattr(runner, "STOP_SECONDS", 240)


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """`make_video("color=c=red", 3)`: bytes of a small MP4 with sound."""
    folder = tmp_path_factory.mktemp("media")

    def make(picture: str = "testsrc2", seconds: float = 3, *, faststart: bool = True, suffix: str = ".mp4") -> bytes:
        path: Path = folder / f"{picture.replace('=', '-')}-{seconds}-{faststart}{suffix}"
        joint = ":" if "=" in picture else "="
        if not path.exists():
            subprocess.run(
                [
                    *(find_tools().ffmpeg, "-v", "error", "-y"),
                    *("-f", "lavfi", "-i", f"{picture}{joint}size=320x180:rate=30:duration={seconds}"),
                    *("-f", "lavfi", "-i", f"sine=duration={seconds}", "-c:v", "libx264", "-preset", "ultrafast"),
                    *("-pix_fmt", "yuv420p", "-threads", "1", "-c:a", "aac"),
                    *(("-movflags", "+faststart") if faststart else ()),
                    str(path),
                ],
                check=True,
            )
        return path.read_bytes()

    return make


class Api:
    """The API as the user `alice` in the profile `main`; the bucket is at hand."""

    def __init__(self, client: httpx.AsyncClient, headers: dict[str, str], store: FakeStore) -> None:
        self.client, self.headers, self.store = client, headers, store

    async def call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        answer = await self.client.request(method, path, json=body, headers=self.headers)
        assert answer.status_code == expect, answer.text
        if expect >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
        return answer.json() if answer.content else None

    async def prepare(self, data: bytes, filename: str = "a.mp4", size: int | None = None) -> Any:
        wanted = {"name": "A", "filename": filename, "content_type": "video/mp4", "size": size or len(data)}
        return await self.call("POST", "/api/games/prepare-upload", wanted, expect=201)

    def key(self, game_id: str, extension: str = "mp4") -> str:
        return f"{PREFIX}games/{game_id}/source.{extension}"

    async def upload(self, data: bytes) -> Any:
        """A finished game; the PUT by presigned URL is made straight into the store."""
        prepared = await self.prepare(data)
        await self.store.put_bytes(self.key(prepared["game_id"]), data)
        return await self.call("POST", f"/api/games/{prepared['game_id']}/finalize-upload", {"parts": []})

    async def clip(self, game_id: str, start: float, end: float) -> str:
        body = {"game_id": game_id, "name": "c", "start": start, "end": end}
        made: str = (await self.call("POST", "/api/clips", body, expect=201))["id"]
        return made

    async def export(self, clip_ids: list[str], **options: str) -> Any:
        body = {"name": "P", "clip_ids": clip_ids, "options": {"quality": "draft", **options}}
        project = await self.call("POST", "/api/projects", body, expect=201)
        return await self.call("POST", "/api/exports", {"project_id": project["id"]}, expect=202)

    async def over(self, path: str) -> Any:
        return await until(lambda: self.call("GET", path), lambda job: job["status"] not in ("pending", "processing"))


async def until(look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool], seconds: float = 240) -> Any:
    """Polls until `wanted`; fails at the deadline with what was seen last."""
    deadline = time.monotonic() + seconds
    while True:
        seen = await look()
        if wanted(seen):
            return seen
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.05)


def stored(store: FakeStore) -> list[str]:
    """Every key of the bucket."""
    return list(store.keys())


@pytest.fixture
def api(client: httpx.AsyncClient, headers: dict[str, str], store: FakeStore) -> Api:
    return Api(client, headers, store)


class SecondPiece:
    """Pieces have a second and are stored, and the first attempt at the second one never ends: until then a stop can
    come. `encoded` has the names of all files that ffmpeg was to write."""

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self.begun = asyncio.Event()

    async def run_ffmpeg(self, command: Sequence[str], **options: Any) -> int:
        self.encoded.append(command[-1].rsplit("/", 1)[-1])
        if self.encoded == ["piece-000.mov", "piece-001.mov"]:
            self.begun.set()
            await asyncio.Event().wait()
        return await run_ffmpeg(command, **options)


@pytest.fixture
def second_piece(monkeypatch: pytest.MonkeyPatch) -> SecondPiece:
    second = SecondPiece()
    monkeypatch.setattr(plan, "PIECE_SECONDS", 1)
    monkeypatch.setattr(render, "KEEP_SECONDS", 0.0)
    monkeypatch.setattr(render, "run_ffmpeg", second.run_ffmpeg)
    return second
