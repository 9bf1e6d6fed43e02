"""Presigned URLs of an upload, used by an HTTP client against R2's rules: good for one upload, dead after its end."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.backend.conftest import ORIGIN

from app.context import UserContext
from app.db.rows import execute
from app.games.sweep import sweep
from app.main import create_app
from app.settings import Settings
from app.sync.interface import SyncDamaged
from parity.certs import Certificates, ensure_certificates
from parity.r2.server import serve_s3
from parity.r2.settings import R2Settings
from parity.r2.sigv4 import Token

CONTEXT = UserContext("alice", "main")
NO_VIDEO = b"this is no video\n" * 500
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    return ensure_certificates(folder / "ca", folder / "trust", ["localhost", "127.0.0.1"])


class Uploads:
    """The API as `alice`, and what any HTTP client can do with the URLs that it hands out."""

    def __init__(self, app: FastAPI, api: httpx.AsyncClient, r2: httpx.AsyncClient) -> None:
        self.app, self.api, self.r2 = app, api, r2

    async def call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        answer = await self.api.request(method, path, json=body)
        assert answer.status_code == expect, answer.text
        return answer.json() if answer.content else None

    async def prepare(self, size: int) -> tuple[str, Any]:
        wanted = {"name": "A", "filename": "a.mp4", "content_type": "video/mp4", "size": size}
        prepared = await self.call("POST", "/api/games/prepare-upload", wanted, expect=201)
        return prepared["game_id"], prepared["upload"]

    async def put(self, upload: Any, data: bytes) -> int:
        return (await self.r2.put(upload["url"], content=data, headers=upload["headers"])).status_code

    async def finalize(self, game_id: str, parts: Any = (), *, expect: int) -> None:
        await self.call("POST", f"/api/games/{game_id}/finalize-upload", {"parts": list(parts)}, expect=expect)

    async def bucket(self) -> dict[str, int]:
        """The sizes of the objects of games, by the last two parts of their keys."""
        listed = await self.app.state.core.store.list("staging/users/alice/profiles/main/games/")
        return {"/".join(item.key.split("/")[-2:]): item.size for item in listed}


@pytest.fixture
async def uploads(
    certificates: Certificates, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Uploads]:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.ca))
    trust = ssl.create_default_context(cafile=str(certificates.ca))
    server = R2Settings("bucket", (Token("key", "secret"),), (), save_seconds=0)
    async with serve_s3(server, "127.0.0.1", 0, 0, certificates) as (_, ports):
        limits = {"MULTIPART_THRESHOLD_BYTES": str(6 * MIB), "PART_BYTES": str(5 * MIB)}
        app = create_app(make_settings(R2_ENDPOINT=f"https://localhost:{ports.s3}", **limits))
        person = {"Origin": ORIGIN, "X-User-ID": "alice", "X-Profile-ID": "main"}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="https://api.test", headers=person) as api,
            httpx.AsyncClient(verify=trust, trust_env=False, timeout=60) as r2,
        ):
            made = Uploads(app, api, r2)
            await made.call("POST", "/api/profiles", {"name": "Main", "id": "main"}, expect=201)
            yield made


def later(monkeypatch: pytest.MonkeyPatch, uploads: Uploads, days: int) -> None:
    """The store's clock shows a later day from now on."""
    then = datetime.datetime.now(datetime.UTC).timestamp() + days * 86_400
    monkeypatch.setattr(uploads.app.state.core.store, "sure_date", lambda: then)


async def test_a_url_is_dead_after_the_upload_became_a_game(uploads: Uploads, make_video: Callable[..., bytes]) -> None:
    video = make_video()
    game, upload = await uploads.prepare(len(video))
    assert await uploads.put(upload, video) == 200
    assert await uploads.put(upload, video) == 412, "a second PUT replaces what was sent"
    await uploads.finalize(game, expect=200)
    assert await uploads.put(upload, video) == 412
    assert await uploads.bucket() == {f"{game}/source.mp4": len(video)}


@pytest.mark.parametrize("ended_by", ["refused", "deleted", "deleted-before-the-put"])
async def test_a_url_is_dead_after_an_upload_that_became_no_game(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch, ended_by: str
) -> None:
    game, upload = await uploads.prepare(len(NO_VIDEO))
    if ended_by != "deleted-before-the-put":
        assert await uploads.put(upload, NO_VIDEO) == 200
    if ended_by == "refused":
        await uploads.finalize(game, expect=422)
    else:
        await uploads.call("DELETE", f"/api/games/{game}", expect=204)
    assert await uploads.put(upload, NO_VIDEO) == 412
    assert await uploads.bucket() == {f"{game}/source.mp4": 0}
    # The URL is good for an hour by default, the sweep waits a day.
    assert await sweep(uploads.app.state.core, CONTEXT) == 0
    later(monkeypatch, uploads, 2)
    assert await sweep(uploads.app.state.core, CONTEXT) == 1
    assert await uploads.bucket() == {}


async def test_a_url_is_dead_after_the_finished_game_was_deleted(
    uploads: Uploads, make_video: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video()
    game, upload = await uploads.prepare(len(video))
    assert await uploads.put(upload, video) == 200
    await uploads.finalize(game, expect=200)
    await uploads.call("DELETE", f"/api/games/{game}", expect=204)
    assert await uploads.put(upload, video) == 412
    assert await uploads.bucket() == {f"{game}/source.mp4": 0}
    later(monkeypatch, uploads, 2)
    assert await sweep(uploads.app.state.core, CONTEXT) == 1
    assert await uploads.bucket() == {}


async def test_a_game_whose_urls_have_expired_is_deleted_without_a_trace(
    uploads: Uploads, make_video: Callable[..., bytes]
) -> None:
    video = make_video()
    game, upload = await uploads.prepare(len(video))
    assert await uploads.put(upload, video) == 200
    await uploads.finalize(game, expect=200)
    async with uploads.app.state.core.databases.session(CONTEXT) as session:
        await session.write(
            lambda connection: execute(connection, "UPDATE games SET updated_at = '2020-01-01T00:00:00.000Z'")
        )
    await uploads.call("DELETE", f"/api/games/{game}", expect=204)
    assert await uploads.bucket() == {}


async def test_urls_are_dead_after_the_profile_was_deleted(
    uploads: Uploads, make_video: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video()
    finished, first = await uploads.prepare(len(video))
    assert await uploads.put(first, video) == 200
    await uploads.finalize(finished, expect=200)
    begun, second = await uploads.prepare(len(video))
    _, in_parts = await uploads.prepare(7 * MIB)
    await uploads.call("DELETE", "/api/profiles/main", expect=204)
    assert [await uploads.put(upload, video) for upload in (first, second)] == [412, 412]
    part = in_parts["parts"][0]
    assert (await uploads.r2.put(part["url"], content=bytes(part["size"]))).status_code == 404
    assert await uploads.bucket() == {f"{game}/source.mp4": 0 for game in (finished, begun)}
    # Any profile of the user sweeps, once the URLs have expired.
    await uploads.call("POST", "/api/profiles", {"name": "Next", "id": "next"}, expect=201)
    core = uploads.app.state.core
    assert await sweep(core, UserContext("alice", "next")) == 0
    later(monkeypatch, uploads, 2)
    assert await sweep(core, UserContext("alice", "next")) == 2
    assert await uploads.bucket() == {}


async def test_what_reaches_a_deleted_profile_late_is_swept(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its database could not be read when it was deleted, so no URL was made useless."""
    _, upload = await uploads.prepare(len(NO_VIDEO))
    core = uploads.app.state.core

    @asynccontextmanager
    async def unreadable(context: UserContext) -> AsyncIterator[None]:
        raise SyncDamaged("no database")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(core.databases, "session", unreadable)
        await uploads.call("DELETE", "/api/profiles/main", expect=204)
    assert await uploads.put(upload, NO_VIDEO) == 200
    await uploads.call("POST", "/api/profiles", {"name": "Next", "id": "next"}, expect=201)
    later(monkeypatch, uploads, 2)
    assert await sweep(core, UserContext("alice", "next")) == 1
    assert await uploads.bucket() == {}


@pytest.mark.parametrize("ended_by", ["refused", "deleted"])
async def test_urls_of_parts_are_dead_after_an_upload_that_became_no_game(uploads: Uploads, ended_by: str) -> None:
    data = bytes(7 * MIB)
    game, upload = await uploads.prepare(len(data))
    sent = []
    for part in upload["parts"]:
        start = 5 * MIB * (part["part_number"] - 1)
        answer = await uploads.r2.put(part["url"], content=data[start : start + part["size"]])
        assert answer.status_code == 200
        sent.append({"part_number": part["part_number"], "etag": answer.headers["etag"]})
    if ended_by == "refused":
        await uploads.finalize(game, sent, expect=422)
    else:
        await uploads.call("DELETE", f"/api/games/{game}", expect=204)
    for part in upload["parts"]:
        assert (await uploads.r2.put(part["url"], content=bytes(part["size"]))).status_code == 404
    assert await uploads.bucket() == {}
