"""One Machine serves a profile: the others send its requests there, and take it over where the proxy says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.websockets import WebSocketDisconnect
from tests.backend.fakes import FakeStore

from app import websockets
from app.context import UserContext
from app.jobs import rows, steps
from app.jobs.models import Job, JobKind
from app.main import create_app
from app.middleware.owner import PINNED
from app.replication.layout import SNAPSHOT, FileRef, highest, parse_name, transaction
from app.replication.ltx import Header, encode, read_header
from app.settings import Settings
from app.storage.keys import Keys
from app.sync.interface import OwnedElsewhere

PROFILE = {"X-User-ID": "alice", "X-Profile-ID": "main"}
CONTEXT = UserContext("alice", "main")
FOLDER = Keys("staging").profile(CONTEXT).database_folder
Start = Callable[..., Any]


class Machine:
    """A backend with a Machine id, and a client that reaches it without a proxy."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self.app, self.client = app, client

    async def read(self, **headers: str) -> httpx.Response:
        return await self.client.get("/api/settings", headers={**PROFILE, **headers})

    async def write(self, theme: str = "dark", **headers: str) -> httpx.Response:
        return await self.client.patch("/api/settings", headers={**PROFILE, **headers}, json={"theme": theme})

    async def settled(self) -> None:
        """Return when nothing runs in the background, as a claim does after a first read."""
        async with asyncio.timeout(60):
            while any(entry.replica.busy for entry in self.app.state.core.databases._entries.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@pytest.fixture
async def start(make_settings: Callable[..., Settings], store: FakeStore) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(machine: str, **settings: str) -> tuple[Machine, AsyncExitStack]:
            own = await stack.enter_async_context(AsyncExitStack())
            app = create_app(make_settings(FLY_MACHINE_ID=machine, **settings), store)
            await own.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app)
            client = await own.enter_async_context(httpx.AsyncClient(transport=transport, base_url="https://api.test"))
            return Machine(app, client), own

        yield begin


@pytest.fixture
async def two(start: Start) -> tuple[Machine, Machine]:
    """``m1``, which owns the profile, and ``m2``."""
    one, _ = await start("m1")
    other, _ = await start("m2")
    await one.client.post("/api/profiles", headers=PROFILE, json={"name": "x", "id": "main"})
    assert (await one.write()).status_code == 200
    return one, other


def newest(store: FakeStore) -> str:
    """The Machine that the newest transaction names."""
    refs = [parse_name(key.removeprefix(FOLDER)) for key in store.objects if key.startswith(FOLDER)]
    return read_header(store.objects[FOLDER + transaction(highest(ref for ref in refs if ref)).name][0]).machine


async def test_a_machine_that_does_not_own_the_profile_sends_requests_to_the_owner_and_opens_nothing(
    two: tuple[Machine, Machine], store: FakeStore
) -> None:
    _, other = two
    before = store.keys()
    for answer in (await other.read(), await other.write("light")):
        assert answer.headers["fly-replay"] == "prefer_instance=m1"
        assert "fly-replay-cache" not in answer.headers
    assert list(other.app.state.core.settings.user_data_dir.rglob("*.sqlite")) == []
    assert store.keys() == before


async def test_a_request_that_a_cached_replay_brought_to_the_wrong_machine_empties_the_cache(
    two: tuple[Machine, Machine],
) -> None:
    answer = await two[1].read(**{"fly-replay-cache-status": "hit"})
    assert (answer.headers["fly-replay"], answer.headers["fly-replay-cache"]) == ("prefer_instance=m1", "invalidate")


@pytest.mark.parametrize(
    "header",
    [
        {"fly-preferred-instance-unavailable": "m1"},
        {"fly-replay-src": "instance=m3;region=lax;t=1;state="},
        {"fly-replay-failed": "instance=m1;app=a;region=lax;replay_source=m2;reason=timeout;elapsed_ms=9"},
    ],
    ids=lambda header: next(iter(header)),
)
@pytest.mark.parametrize("method", ["read", "write"])
async def test_a_request_that_may_not_be_replayed_is_served_here_and_moves_the_profile(
    two: tuple[Machine, Machine], store: FakeStore, header: dict[str, str], method: str
) -> None:
    one, other = two
    answer = await getattr(other, method)(**header)
    assert (answer.status_code, answer.headers["x-sync-status"]) == (200, "synced")
    await other.settled()
    assert newest(store) == "m2"
    assert "fly-replay" not in (await other.read()).headers
    # The old owner learns of it by its next upload, and sends what follows to the new one.
    assert (await one.write("light")).status_code == 503
    assert (await one.read()).headers["fly-replay"] == "prefer_instance=m2"
    assert (await other.read()).json()["theme"] == "dark"


async def test_a_client_that_asks_for_a_machine_is_served_there_and_only_its_write_moves_the_profile(
    two: tuple[Machine, Machine], store: FakeStore
) -> None:
    one, other = two
    assert (await other.read(**{"fly-prefer-instance-id": "m2"})).json()["theme"] == "dark"
    await other.settled()
    assert newest(store) == "m1"
    assert (await one.write("light")).status_code == 200
    assert (await other.read(**{"fly-prefer-instance-id": "m1"})).headers["fly-replay"] == "prefer_instance=m1"
    assert (await other.write("dark", **{"fly-prefer-instance-id": "m2"})).status_code == 200
    assert newest(store) == "m2"


async def test_an_owner_that_learns_of_a_new_one_does_not_take_the_profile_back(start: Start, store: FakeStore) -> None:
    """It was frozen, for one. Otherwise two Machines that both get requests would take it from each other for ever."""
    one, _ = await start("m1", SYNC_READ_CHECK="always")
    other, _ = await start("m2", SYNC_READ_CHECK="always")
    await one.client.post("/api/profiles", headers=PROFILE, json={"name": "x", "id": "main"})
    await one.write()
    await other.write("light", **{"fly-preferred-instance-unavailable": "m1"})
    assert (await one.read()).json()["theme"] == "light"
    await one.settled()
    assert newest(store) == "m2"
    assert (await one.read()).headers["fly-replay"] == "prefer_instance=m2"


async def test_a_request_that_could_not_reach_a_former_owner_goes_to_the_owner(two: tuple[Machine, Machine]) -> None:
    """The proxy remembers a Machine that is gone; those that are left must not take the profile from each other."""
    answer = await two[1].read(**{"fly-preferred-instance-unavailable": "m9"})
    assert (answer.headers["fly-replay"], answer.headers["fly-replay-cache"]) == ("prefer_instance=m1", "invalidate")


async def test_a_machine_without_an_id_serves_everything(two: tuple[Machine, Machine], start: Start) -> None:
    here, _ = await start("")
    assert (await here.read()).json()["theme"] == "dark"
    assert (await here.write("light")).status_code == 200


async def test_a_machine_whose_id_no_log_can_name_serves_everything(two: tuple[Machine, Machine], start: Start) -> None:
    here, _ = await start("m" * 21)
    assert (await here.write("light")).status_code == 200


async def test_a_machine_that_stops_in_order_releases_what_it_owns(start: Start, store: FakeStore) -> None:
    one, life = await start("m1")
    await one.client.post("/api/profiles", headers=PROFILE, json={"name": "x", "id": "main"})
    await one.write()
    assert newest(store) == "m1"
    await life.aclose()
    assert newest(store) == ""
    other, _ = await start("m2")
    assert (await other.read()).json()["theme"] == "dark"
    await other.settled()
    assert newest(store) == "m2"


async def test_a_machine_that_stops_releases_nothing_of_another_owner(start: Start, store: FakeStore) -> None:
    one, _ = await start("m1")
    await one.client.post("/api/profiles", headers=PROFILE, json={"name": "x", "id": "main"})
    await one.write()
    other, life = await start("m2")
    # Served here without a claim: the client asked for this very Machine.
    assert (await other.read(**{"Fly-Prefer-Instance-Id": "m2"})).status_code == 200
    before = store.keys()
    await life.aclose()
    assert (store.keys(), newest(store)) == (before, "m1")


async def test_a_profile_that_leaves_the_cache_is_released(start: Start, store: FakeStore) -> None:
    one, _ = await start("m1", SYNC_MAX_CACHED_PROFILES="1")
    for name in ("main", "next"):
        await one.client.post("/api/profiles", headers=PROFILE, json={"name": name, "id": name})
    await one.write()
    assert newest(store) == "m1"
    await one.write(**{"X-Profile-ID": "next"})
    await one.write(**{"X-Profile-ID": "next"})
    assert newest(store) == ""


async def test_a_machine_that_was_killed_and_comes_back_serves_what_it_owned(
    two: tuple[Machine, Machine], start: Start
) -> None:
    again, _ = await start("m1")
    assert (await again.read()).json()["theme"] == "dark"


async def test_what_names_no_profile_or_no_known_one_is_served_anywhere(two: tuple[Machine, Machine]) -> None:
    _, other = two
    preflight = {"Origin": "http://localhost:5173", "Access-Control-Request-Method": "GET"}
    answers = [
        await other.client.get("/api/health", headers=PROFILE),
        await other.client.get("/api/profiles", headers={"X-User-ID": "alice"}),
        await other.client.options("/api/settings", headers={**PROFILE, **preflight}),
        await other.read(**{"X-Profile-ID": "unknown"}),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 404]
    assert not any("fly-replay" in answer.headers for answer in answers)


async def test_a_web_socket_of_another_machines_profile_is_not_accepted(two: tuple[Machine, Machine]) -> None:
    sent: list[Any] = []
    scope = {
        "type": "websocket",
        "path": "/ws/extractions",
        "raw_path": b"/ws/extractions",
        "query_string": b"",
        "headers": [(b"sec-websocket-protocol", b"user.alice, profile.main")],
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await two[1].app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (b"fly-replay", b"prefer_instance=m1") in sent[0]["headers"]


async def test_an_owner_asks_nothing_for_a_read_and_once_for_a_write(start: Start, store: FakeStore) -> None:
    one, _ = await start("m1", SYNC_READ_CHECK="1")
    await one.client.post("/api/profiles", headers=PROFILE, json={"name": "x", "id": "main"})
    await one.write()
    await one.settled()
    store.calls.clear()
    await one.read()
    assert store.calls == []
    await one.write("light")
    await one.settled()
    assert [operation for operation, _ in store.calls] == ["put"]


async def test_an_owner_does_not_ask_who_owns_what_it_owns(start: Start, store: FakeStore) -> None:
    """Also where each read looks at the store, or the last look is long ago: a write is one PUT."""
    one, _ = await start("m1", SYNC_READ_CHECK="always")
    await one.client.post("/api/profiles", headers=PROFILE, json={"name": "x", "id": "main"})
    await one.write()
    await one.settled()
    store.calls.clear()
    await one.write("light")
    await one.settled()
    assert [operation for operation, _ in store.calls] == ["put"]


@pytest.mark.parametrize("asked_before", [False, True])
async def test_a_copy_that_was_built_from_a_snapshot_knows_the_owner(
    start: Start, store: FakeStore, asked_before: bool
) -> None:
    """Snapshots name no Machine, and what was known of the owner may be old."""
    one, life = await start("m1")
    await one.client.post("/api/profiles", headers=PROFILE, json={"name": "x", "id": "main"})
    await one.write()
    other, _ = await start("m2")
    if asked_before:
        assert (await other.read()).headers["fly-replay"] == "prefer_instance=m1"
    await life.aclose()
    owner, _ = await start("m3")
    await owner.write("light")
    await owner.settled()
    copy = owner.app.state.core.databases._entries[CONTEXT].replica.copy
    image = copy.database.durable_image()
    snapshot = FileRef(SNAPSHOT, 1, image.txid)
    header = Header(copy.database.page_size, image.commit, 1, image.txid, 0, 7)
    await store.put_bytes(FOLDER + snapshot.name, encode(header, image.pages))
    # Served without a claim, since the client asked for this Machine.
    assert (await other.read(**{"fly-prefer-instance-id": "m2"})).json()["theme"] == "light"
    assert (await other.read()).headers["fly-replay"] == "prefer_instance=m3"
    assert newest(store) == "m3"


async def test_what_a_client_was_told_on_one_machine_it_is_shown_on_the_next(start: Start) -> None:
    """Without Machine ids, so that nothing is replayed; the second one would trust its last look for ever."""
    one, _ = await start("", SYNC_READ_CHECK="never")
    other, _ = await start("", SYNC_READ_CHECK="never")
    await one.client.post("/api/profiles", headers=PROFILE, json={"name": "x", "id": "main"})
    assert (await other.read()).json()["theme"] == "system"
    for theme in ("dark", "light"):
        written = await one.write(theme)
        position = written.headers["x-sync-position"]
        assert (await other.read()).json()["theme"] != theme
        answer = await other.read(**{"X-Sync-Position": position})
        assert answer.json()["theme"] == theme
        assert int(answer.headers["x-sync-position"]) >= int(position)
        assert (await other.read()).json()["theme"] == theme


async def test_an_error_tells_its_position_too_and_a_browser_may_read_it(two: tuple[Machine, Machine]) -> None:
    answer = await two[0].client.patch(
        "/api/projects/none", headers={**PROFILE, "Origin": "http://localhost:5173"}, json={"name": "x"}
    )
    assert answer.status_code == 404
    assert int(answer.headers["x-sync-position"]) > 0
    assert "X-Sync-Position" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("does", ["read", "write"])
async def test_a_position_behind_the_end_of_the_log_is_told_as_damage(two: tuple[Machine, Machine], does: str) -> None:
    headers = {"X-Sync-Position": "999999"}
    answer = await (two[0].read(**headers) if does == "read" else two[0].write("dark", **headers))
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/sync-damaged")
    assert "a client has been shown" in answer.json()["detail"]


@pytest.mark.parametrize("given", ["-1", "x", "1.5", "9" * 19, "²"])
async def test_a_position_that_is_none_is_refused(two: tuple[Machine, Machine], given: str) -> None:
    headers = {**PROFILE, "X-Sync-Position": given}
    answer = await two[0].client.get(
        "/api/settings", headers=[(name.encode(), value.encode()) for name, value in headers.items()]
    )
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-header")


async def test_a_job_step_never_takes_a_profile_from_its_owner(two: tuple[Machine, Machine], store: FakeStore) -> None:
    one, other = two
    before = store.keys()
    with pytest.raises(OwnedElsewhere, match="m1"):
        await steps.write(other.app.state.core.databases, CONTEXT, lambda _: None)
    assert store.keys() == before
    await steps.write(one.app.state.core.databases, CONTEXT, lambda _: None)


async def test_a_machine_that_becomes_the_owner_resumes_what_the_one_before_left(
    two: tuple[Machine, Machine],
) -> None:
    """Also where it has looked at the profile's jobs before, as an earlier owner."""
    _, other = two
    resumed: list[UserContext] = []
    other.app.state.core.databases.when_owned = resumed.append
    await other.read(**{"fly-preferred-instance-unavailable": "m1"})
    await other.settled()
    assert resumed == [CONTEXT]
    runner = other.app.state.runner
    runner.awaken(CONTEXT)
    before = len(runner._awakening)
    runner.awaken(CONTEXT)
    assert len(runner._awakening) == before
    runner.take_over(CONTEXT)
    assert len(runner._awakening) == before + 1


async def test_a_process_that_stops_neither_resumes_nor_begins_a_job(two: tuple[Machine, Machine]) -> None:
    """Giving a job back may itself make this Machine the owner."""
    one, _ = two
    runner = one.app.state.runner
    await runner.stop(5)
    runner.take_over(CONTEXT)
    runner.submit(CONTEXT, SimpleNamespace(id="j_1", kind=JobKind.EXPORT))
    assert (runner._awakening, runner._tasks) == (set(), {})


async def test_a_websocket_that_was_sent_to_this_very_machine_moves_no_profile(
    two: tuple[Machine, Machine], store: FakeStore
) -> None:
    one, other = two
    await one.settled()
    before = store.keys()
    websocket = SimpleNamespace(scope={PINNED: True})
    async with websockets._session(websocket, other.app.state.core, CONTEXT) as session:  # type: ignore[arg-type]
        await session.read(lambda connection: rows.of_kind(connection, JobKind.EXTRACTION))
    await other.settled()
    assert store.keys() == before
    async with websockets._session(SimpleNamespace(scope={}), other.app.state.core, CONTEXT) as session:  # type: ignore[arg-type]
        await session.read(lambda connection: rows.of_kind(connection, JobKind.EXTRACTION))
    await other.settled()
    assert store.keys() != before


async def test_an_open_websocket_does_not_take_the_profile_back(
    two: tuple[Machine, Machine], store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websockets, "LOOK_SECONDS", 0.001)
    _, other = two
    looks = asyncio.Semaphore(0)

    async def look() -> list[Job]:
        async with websockets._session(socket, other.app.state.core, CONTEXT) as session:  # type: ignore[arg-type]
            found = await session.read(lambda connection: rows.of_kind(connection, JobKind.EXTRACTION))
        looks.release()
        return found

    async def receive() -> dict[str, Any]:
        await looks.acquire()
        await looks.acquire()
        return {"type": "websocket.disconnect"}

    socket = SimpleNamespace(scope={}, receive=receive)
    await two[0].settled()
    before = store.keys()
    with pytest.raises(WebSocketDisconnect):
        await websockets._serve(socket, asyncio.Queue(), look, {}, only=None)  # type: ignore[arg-type]
    await other.settled()
    assert store.keys() == before
