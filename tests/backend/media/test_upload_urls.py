"""Presigned URLs of an upload, used by an HTTP client against R2's rules: good for one upload, dead after its end."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.backend.conftest import ORIGIN

from app.context import UserContext
from app.games import sweep as sweep_module
from app.games.sweep import sweep
from app.main import create_app
from app.settings import Settings
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
            httpx.AsyncClient(verify=trust, trust_env=False) as r2,
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
    assert uploads.app.state.core.settings.presign_seconds <= sweep_module.UPLOAD_SECONDS
    assert await sweep(uploads.app.state.core, CONTEXT) == 1
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
