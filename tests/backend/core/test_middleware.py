"""The layers of app.main: whatever answers, a browser can read it, and it says what was wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, Response
from starlette.middleware.cors import CORSMiddleware
from tests.backend.conftest import ORIGIN
from tests.backend.fakes import FakeStore, Fault

from app.context import current_caller
from app.dependencies import ContextDep, SessionDep
from app.main import create_app
from app.middleware.body_limit import BodyLimitMiddleware
from app.profiles import settings as profile_settings
from app.replication.layout import transaction
from app.replication.ltx import Header, encode, read_header
from app.routes import local_objects
from app.settings import Settings
from app.storage.interface import StorageUnavailable

DATABASE = "staging/users/alice/profiles/main/database/"


def replicated(store: FakeStore) -> list[str]:
    """The files of the profile's replica, oldest first."""
    return sorted(key for key in store.objects if key.startswith(DATABASE))


@pytest.fixture
def app_with_handlers(app: FastAPI) -> FastAPI:
    """The application with handlers that tests look into."""

    @app.get("/test/boom")
    async def boom() -> None:
        raise KeyError("secret detail")

    @app.get("/test/who")
    def who(context: ContextDep) -> dict[str, str | None]:
        # A plain function: it runs in a thread.
        return {"user": current_caller().user_id, "profile": current_caller().profile_id, "same": context.user_id}

    @app.post("/test/write-then-boom")
    async def write_then_boom(session: SessionDep) -> None:
        await session.write(lambda connection: profile_settings.write(connection, {"theme": "dark"}))
        raise KeyError("after the write")

    app.state.seen = []

    @app.post("/test/background")
    async def background(context: ContextDep, tasks: BackgroundTasks) -> None:
        tasks.add_task(lambda: app.state.seen.append(current_caller().user_id))

    return app


@pytest.fixture
async def tester(app_with_handlers: FastAPI, client: httpx.AsyncClient) -> httpx.AsyncClient:
    return client


def assert_problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"/problems/{slug}"
    assert body["status"] == status
    return body


async def test_errors_of_every_layer_can_be_read_by_the_frontend(
    tester: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    json_headers = {**headers, "Content-Type": "application/json"}
    assert_problem(await tester.get("/test/boom"), 500, "internal-error")
    assert_problem(await tester.get("/nowhere"), 404, "not-found")
    assert_problem(await tester.delete("/api/health"), 405, "method-not-allowed")
    assert_problem(await tester.get("/api/settings"), 400, "missing-header")
    assert_problem(await tester.patch("/api/settings", headers=headers, json={"theme": 1}), 422, "invalid-request")
    assert_problem(await tester.patch("/api/settings", headers=json_headers, content=b"{"), 400, "bad-request")
    assert_problem(await tester.post("/api/profiles", headers=headers, content=b"x" * 2_000_000), 413, "body-too-large")


async def test_no_answer_may_be_kept_by_a_cache(tester: httpx.AsyncClient, headers: dict[str, str]) -> None:
    await tester.delete("/api/profiles/main", headers=headers)
    answers = [
        await tester.get("/api/health"),
        await tester.get("/api/profiles", headers=headers),
        await tester.get("/api/settings", headers=headers),
        await tester.get("/nowhere"),
        await tester.get("/test/boom"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 410, 404, 500]
    assert [answer.headers.get("cache-control") for answer in answers] == ["no-store"] * 5


async def test_an_answer_that_names_its_own_caching_is_left_alone(app: FastAPI, client: httpx.AsyncClient) -> None:
    @app.get("/test/kept")
    async def kept() -> Response:
        return Response(headers={"Cache-Control": "max-age=60"})

    assert (await client.get("/test/kept")).headers["cache-control"] == "max-age=60"
    # The URL of an object names its content, and a browser keeps what it has read of a video.
    assert "cache-control" not in (await client.get(local_objects.PATH_PREFIX + "none")).headers


async def test_cors_inside_of_the_other_layers_would_be_caught() -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the body limit answers first")

    wrong = BodyLimitMiddleware(CORSMiddleware(inner, allow_origins=[ORIGIN]), limit=1, seconds=1)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(wrong), base_url="https://api.test") as client:
        answer = await client.post("/", content=b"xx", headers={"Origin": ORIGIN})
    with pytest.raises(KeyError):
        assert_problem(answer, 413, "body-too-large")


async def test_cors_is_the_outermost_layer(app: FastAPI) -> None:
    outermost: object = app.user_middleware[0].cls
    assert outermost is CORSMiddleware


async def test_details_of_an_unexpected_error_are_shown_in_development_only(
    tester: httpx.AsyncClient, make_settings: Callable[..., Settings], store: FakeStore
) -> None:
    assert "secret detail" not in (await tester.get("/test/boom")).text
    app = create_app(make_settings(ENV="development"), store)

    @app.get("/test/boom")
    async def boom() -> None:
        raise KeyError("secret detail")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.test") as client:
        assert "secret detail" in (await client.get("/test/boom")).json()["detail"]


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:5173", "http://localhost:3000"])
async def test_a_known_origin_passes_the_preflight(client: httpx.AsyncClient, origin: str) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "x-user-id,x-profile-id,content-type",
    }
    answer = await client.options("/api/settings", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin


async def test_a_stranger_gets_no_permission(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/health", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_a_streamed_body_is_cut_off_at_the_limit(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 65_536
            yield b"x" * 65_536

    answer = await client.post("/api/profiles", headers=headers, content=endless())
    assert_problem(answer, 413, "body-too-large")
    assert sent < 4_000_000


@pytest.mark.parametrize("value", ["a/b", "..", "-x", "a" * 65, "a b"])
@pytest.mark.parametrize("header", ["X-User-ID", "X-Profile-ID"])
async def test_an_id_that_is_none_is_refused_by_name(
    client: httpx.AsyncClient, headers: dict[str, str], header: str, value: str, store: FakeStore
) -> None:
    before = store.keys()
    answer = await client.patch("/api/settings", headers={**headers, header: value}, json={"theme": "dark"})
    assert header in assert_problem(answer, 400, "invalid-header")["detail"]
    assert store.keys() == before


async def test_a_header_sent_twice_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/profiles", headers=[("X-User-ID", "alice"), ("X-User-ID", "bob")])
    assert_problem(answer, 400, "invalid-header")


async def test_health_is_served_whatever_the_headers_say(client: httpx.AsyncClient, store: FakeStore) -> None:
    answer = await client.get("/api/health", headers={"X-User-ID": "../.."})
    assert answer.json() == {"status": "ok"}
    assert store.calls == []


async def test_the_context_reaches_handlers_in_threads(tester: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await tester.get("/test/who", headers=headers)
    assert answer.json() == {"user": "alice", "profile": "main", "same": "alice"}


async def test_the_context_reaches_background_tasks(
    app: FastAPI, tester: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    await tester.post("/test/background", headers=headers)
    assert app.state.seen == ["alice"]


async def test_contexts_of_concurrent_requests_do_not_mix(tester: httpx.AsyncClient) -> None:
    users = [f"user{number}" for number in range(20)]
    for user in users:
        await tester.post("/api/profiles", json={"name": "x", "id": "main"}, headers={"X-User-ID": user})
    answers = await asyncio.gather(
        *(tester.get("/test/who", headers={"X-User-ID": user, "X-Profile-ID": "main"}) for user in users)
    )
    assert [answer.json()["user"] for answer in answers] == users


async def test_a_write_is_in_the_bucket_before_its_response_begins(
    client: httpx.AsyncClient, headers: dict[str, str], store: FakeStore
) -> None:
    before = replicated(store)
    store.gates["put"] = asyncio.Event()
    writing = asyncio.create_task(client.patch("/api/settings", headers=headers, json={"theme": "dark"}))
    await store.called("put", DATABASE, times=len(before) + 1)
    done, _ = await asyncio.wait([writing], timeout=0.05)
    assert not done
    assert replicated(store) == before
    store.gates["put"].set()
    answer = await writing
    assert answer.headers["x-sync-status"] == "synced"
    assert len(replicated(store)) > len(before)


async def test_a_write_that_cannot_be_stored_is_no_success(
    client: httpx.AsyncClient, headers: dict[str, str], store: FakeStore
) -> None:
    store.faults.append(Fault("put", StorageUnavailable("down"), key=DATABASE, times=1))
    answer = await client.patch("/api/settings", headers=headers, json={"theme": "dark"})
    assert_problem(answer, 503, "sync-unavailable")
    assert answer.headers["x-sync-status"] == "failed"
    assert answer.headers["retry-after"] == "5"
    assert "X-Sync-Status" in answer.headers["access-control-expose-headers"]
    assert (await client.get("/api/settings", headers=headers)).json()["theme"] == "system"


async def test_a_lost_race_says_conflict_and_a_second_try_works(
    client: httpx.AsyncClient, headers: dict[str, str], store: FakeStore, make_settings: Callable[..., Settings]
) -> None:
    await client.patch("/api/settings", headers=headers, json={"quality": "high"})
    store.gates["put"] = asyncio.Event()
    writing = asyncio.create_task(client.patch("/api/settings", headers=headers, json={"theme": "dark"}))
    taken, newest = transaction(len(replicated(store)) + 1), replicated(store)[-1]
    await store.called("put", taken.name)
    ours = read_header(store.objects[newest][0])
    theirs = encode(Header(ours.page_size, ours.commit, taken.min_txid, taken.max_txid, 0, node=99), [])
    store.objects[DATABASE + taken.name] = (theirs, '"of another machine"', "")
    store.gates["put"].set()
    answer = await writing
    assert_problem(answer, 503, "sync-conflict")
    assert (answer.headers["x-sync-status"], answer.headers["retry-after"]) == ("conflict", "1")
    again = await client.patch("/api/settings", headers=headers, json={"theme": "dark"})
    assert (again.json()["theme"], again.json()["quality"]) == ("dark", "high")


async def test_an_unreachable_store_is_503_and_never_an_empty_profile(
    client: httpx.AsyncClient, headers: dict[str, str], store: FakeStore
) -> None:
    before = store.count("put", DATABASE)
    store.faults.append(Fault("list", StorageUnavailable("down"), key=DATABASE))
    answer = await client.get("/api/settings", headers=headers)
    assert_problem(answer, 503, "sync-unavailable")
    assert answer.headers["x-sync-status"] == "failed"
    assert store.count("put", DATABASE) == before


async def test_what_was_committed_before_an_unexpected_error_reaches_the_bucket(
    tester: httpx.AsyncClient, headers: dict[str, str], store: FakeStore
) -> None:
    assert_problem(await tester.post("/test/write-then-boom", headers=headers), 500, "internal-error")
    assert (await tester.get("/api/settings", headers=headers)).json()["theme"] == "dark"
    assert replicated(store)


async def test_a_response_without_a_database_has_no_sync_status(client: httpx.AsyncClient) -> None:
    assert "x-sync-status" not in (await client.get("/api/health")).headers
