"""What R2 may answer instead of the truth: over HTTP it is a 503 that says so, and nothing else happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from tests.backend.replication.conftest import PROFILE, Server
from tests.backend.replication.fleet import HEADERS

from app.main import create_app
from app.replication.layout import SNAPSHOT, FileRef, parse_name, restore_plan, transaction
from app.replication.ltx import decode, merge
from app.settings import Settings
from app.storage.r2 import R2Store

FOLDER = PROFILE.database_folder


@asynccontextmanager
async def backend(settings: Settings, store: R2Store | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A backend on the stand-in, and a client of the profile."""
    app = create_app(settings, store)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://api.test", headers=HEADERS) as client,
    ):
        yield client


async def with_theme(server: Server, theme: str) -> None:
    """A profile whose database is in the bucket."""
    async with backend(server.settings()) as client:
        made = await client.post("/api/profiles", json={"name": "M", "id": "main"})
        assert made.status_code == 201, made.text
        assert (await client.patch("/api/settings", json={"theme": theme})).status_code == 200


async def bucket(r2: R2Store) -> dict[str, str]:
    """Keys and ETags of the profile's replica."""
    return {item.key: item.etag for item in await r2.list(FOLDER)}


FAULTS = [
    {"key": f"{FOLDER}*", "status": 500},
    {"key": f"{FOLDER}*", "status": 429},
    {"key": f"{FOLDER}*", "status": 403},
    {"key": f"{FOLDER}*", "delay": 30},
    {"key": f"{FOLDER}*", "drop": "before"},
    {"key": f"{FOLDER}*", "operation": "GetObject", "cut": 60},
    {"operation": "ListObjects", "status": 503},
    {"operation": "ListObjects", "cut": 200},
    {"operation": "ListObjects", "status": 404, "code": "NoSuchBucket"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(str(value) for value in fault.values())[-30:])
async def test_an_error_is_not_absence(server: Server, r2: R2Store, fault: dict[str, object]) -> None:
    await with_theme(server, "dark")
    before = await bucket(r2)
    # A short deadline ends the wait for a delayed answer. A busy machine may exceed it without any fault, too.
    hasty = "delay" in fault
    settings = server.settings(R2_ATTEMPTS="2", **({"R2_READ_SECONDS": "1"} if hasty else {}))
    async with backend(settings) as client:
        await answered(client, "/api/profiles", hasty=hasty)
        server.fault(**fault, rate=1.0)
        for method, body in (("PATCH", {"theme": "light"}), ("GET", None), ("PATCH", {"theme": "light"})):
            answer = await client.request(method, "/api/settings", json=body)
            assert answer.status_code == 503, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["x-sync-status"] == "failed"
            assert "retry-after" in answer.headers
        assert list(settings.user_data_dir.rglob("*.sqlite*")) == []
        server.service.front.faults.remove()
        assert await bucket(r2) == before
        assert (await answered(client, "/api/settings", hasty=hasty))["theme"] == "dark"


async def answered(client: httpx.AsyncClient, path: str, *, hasty: bool) -> dict[str, object]:
    """The body of a 200. A ``hasty`` backend is asked again after a 503; TimeoutError after a minute of them."""
    async with asyncio.timeout(60):
        while (answer := await client.get(path)).status_code == 503 and hasty:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


async def test_wrong_credentials_are_not_absence(server: Server, r2: R2Store) -> None:
    await with_theme(server, "dark")
    before = await bucket(r2)
    settings = server.settings(R2_SECRET_ACCESS_KEY="wrong", PROFILE_CACHE_SECONDS="0")
    async with backend(settings) as client:
        answer = await client.patch("/api/settings", json={"theme": "light"})
        assert answer.status_code == 503, answer.text
        assert list(settings.user_data_dir.rglob("*.sqlite*")) == []
    assert await bucket(r2) == before


async def test_a_write_whose_upload_fails_is_not_acknowledged_and_the_next_one_is(server: Server) -> None:
    await with_theme(server, "dark")
    settings = server.settings(R2_ATTEMPTS="1")
    async with backend(settings) as client:
        assert (await client.patch("/api/settings", json={"quality": "low"})).status_code == 200
        server.fault(key=f"{FOLDER}0000/*", operation="PutObject", status=503)
        answer = await client.patch("/api/settings", json={"theme": "light"})
        assert (answer.status_code, answer.headers["x-sync-status"]) == (503, "failed")
        assert (await client.get("/api/settings")).json()["theme"] == "dark"
        again = await client.patch("/api/settings", json={"theme": "light"})
        assert (again.status_code, again.headers["x-sync-status"]) == (200, "synced")
        assert (await client.get("/api/settings")).json()["quality"] == "low"


async def test_a_lost_answer_is_read_back_and_acknowledged(server: Server, r2: R2Store) -> None:
    await with_theme(server, "dark")
    async with backend(server.settings()) as client:
        assert (await client.patch("/api/settings", json={"quality": "low"})).status_code == 200
        files = len(await bucket(r2))
        server.fault(key=f"{FOLDER}0000/*", operation="PutObject", drop="after")
        answer = await client.patch("/api/settings", json={"theme": "light"})
        assert (answer.status_code, answer.headers["x-sync-status"]) == (200, "synced")
        assert len(await bucket(r2)) == files + 1


@pytest.mark.parametrize("harm", ["gap", "corrupt", "cut"])
async def test_damage_is_named_and_stops_one_profile_alone(server: Server, r2: R2Store, harm: str) -> None:
    await with_theme(server, "dark")
    name = FOLDER + transaction(3).name
    data = (await r2.get_bytes(name)).data
    if harm == "gap":
        await r2.delete(name)
        async with backend(server.settings()) as client:
            # Something later than the gap, as another writer left it.
            await r2.put_bytes(FOLDER + transaction(4).name, data)
            await _says_damaged(client, name)
        await r2.delete(FOLDER + transaction(4).name)
    else:
        await r2.put_bytes(name, data[:-9] if harm == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
        async with backend(server.settings()) as client:
            await _says_damaged(client, name)
    await r2.put_bytes(name, data)
    async with backend(server.settings()) as client:
        assert (await client.get("/api/settings")).json()["theme"] == "dark"


async def _says_damaged(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.patch("/api/settings", json={"theme": "light"})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (503, "/problems/sync-damaged")
    assert name in problem["detail"]
    assert answer.headers["x-sync-status"] == "failed"
    other = await client.post("/api/profiles", json={"name": "Other", "id": "other"})
    assert other.status_code == 201
    changed = await client.patch("/api/settings", json={"theme": "light"}, headers={"X-Profile-ID": "other"})
    assert changed.headers["x-sync-status"] == "synced"


class LaterStore(R2Store):
    """R2 whose answers are dated later: `later` in seconds."""

    later = 0.0

    def date(self) -> float:
        return super().date() + self.later


async def test_a_writer_that_slept_past_the_retention_is_fenced_by_the_stores_clock(
    server: Server, r2: R2Store
) -> None:
    await with_theme(server, "dark")
    settings = server.settings(SYNC_READ_CHECK="never")
    store = LaterStore(settings)
    async with backend(settings, store) as sleeper:
        assert (await sleeper.patch("/api/settings", json={"quality": "low"})).status_code == 200
        async with backend(server.settings()) as owner:
            assert (await owner.patch("/api/settings", json={"overlay_text": "theirs"})).status_code == 200
            files = sorted(await bucket(r2))
            await _snapshot(r2)
            # A month passes: retention removes what lies behind the snapshot, and with it the sleeper's fence.
            for name in files:
                await r2.delete(name)
            store.later = 40 * 86400
            stale = await sleeper.patch("/api/settings", json={"overlay_text": "stale"})
            assert (stale.status_code, stale.headers["x-sync-status"]) == (503, "failed"), stale.text
            assert stale.headers["retry-after"] == "5"
            assert (await sleeper.get("/api/settings")).json()["overlay_text"] == "theirs"
            repeat = await sleeper.patch("/api/settings", json={"overlay_text": "repeat"})
            assert (repeat.status_code, repeat.headers["x-sync-status"]) == (200, "synced")


async def _snapshot(r2: R2Store) -> None:
    """A snapshot of the newest state, as maintenance makes it."""
    listed = [parse_name(name.removeprefix(FOLDER)) for name in await bucket(r2)]
    plan = restore_plan([ref for ref in listed if ref])
    files = [decode((await r2.get_bytes(FOLDER + ref.name)).data) for ref in plan]
    newest = plan[-1].max_txid
    await r2.put_bytes(FOLDER + FileRef(SNAPSHOT, 1, newest).name, merge(files, 7))
