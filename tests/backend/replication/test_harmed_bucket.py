"""A bucket that is harmed under running Machines: each Machine says so, goes on with what it knows, or refuses."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
from tests.backend.fakes import FakeStore

from app.context import UserContext
from app.db import schema
from app.main import create_app
from app.replication.errors import Damaged
from app.replication.operator import Operator
from app.settings import Settings
from app.storage.keys import Keys

HEADERS = {"X-User-ID": "alice", "X-Profile-ID": "main"}
PROFILE = Keys("staging").profile(UserContext("alice", "main"))
FOLDER = PROFILE.database_folder


class Machine:
    """A backend without a Machine id: every request is served where it arrives, as without routing."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """The answer, after conflicts, which left nothing."""
        for _ in range(10):
            answer = await self._client.request(method, path, json=body, headers={**HEADERS, **headers})
            if answer.headers.get("x-sync-status") != "conflict":
                return answer
        raise AssertionError(f"{method} {path}: still a conflict")

    async def add(self, name: str) -> httpx.Response:
        return await self.ask("POST", "/api/projects", {"name": name})

    async def names(self, **headers: str) -> Any:
        """The names of all projects, or the problem that the answer names."""
        answer = await self.ask("GET", "/api/projects", **headers)
        if answer.status_code == 200:
            return sorted(item["name"] for item in answer.json()["projects"])
        assert answer.headers["x-sync-status"] == "failed"
        return answer.json()["type"].removeprefix("/problems/")


Start = Callable[..., Awaitable[Machine]]


@pytest.fixture
async def start(make_settings: Callable[..., Settings], store: FakeStore) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(**changes: str) -> Machine:
            app = create_app(make_settings(**changes), store)
            await stack.enter_async_context(app.router.lifespan_context(app))
            transport = httpx.ASGITransport(app)
            client = await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="https://api.test")
            )
            return Machine(client)

        yield begin


async def with_projects(start: Start, count: int = 6) -> Machine:
    """A Machine that has made the profile and ``count`` projects in it."""
    machine = await start()
    assert (await machine.ask("POST", "/api/profiles", {"name": "x", "id": "main"})).status_code == 201
    for number in range(count):
        assert (await machine.add(f"n{number}")).status_code == 201
    return machine


def transactions(store: FakeStore) -> list[str]:
    return [key for key in sorted(store.objects) if key.startswith(f"{FOLDER}0000/")]


async def problems(store: FakeStore, scratch: Path) -> str:
    return "\n".join((await Operator(store, PROFILE).verify(scratch)).problems)


async def test_a_corrupt_newest_object_is_named_and_the_state_before_it_restored(
    start: Start, store: FakeStore, tmp_path: Path
) -> None:
    served = await with_projects(start)
    newest = transactions(store)[-1]
    data, etag, kind = store.objects[newest]
    before = (await Operator(store, PROFILE).dated(await Operator(store, PROFILE).files()))[-1]
    assert before.header is not None
    store.objects[newest] = (data[:-20] + b"x" * 20, etag, kind)
    cold = await start()
    answer = await cold.ask("GET", "/api/projects")
    assert (answer.status_code, answer.headers["x-sync-status"], answer.headers["retry-after"]) == (503, "failed", "60")
    assert newest in answer.json()["detail"]
    # The Machine that has a copy knows what was in the object, and goes on behind it.
    assert await served.names() == [f"n{number}" for number in range(6)]
    assert (await served.add("after")).status_code == 201
    assert newest.removeprefix(FOLDER) in await problems(store, tmp_path / "scratch")
    with pytest.raises(Damaged, match=newest.removeprefix(FOLDER)):
        await Operator(store, PROFILE).restore(tmp_path / "newest.db")
    await Operator(store, PROFILE).restore(tmp_path / "before.db", before.header.timestamp / 1000)
    connection = apsw.Connection(str(tmp_path / "before.db"))
    assert connection.execute("SELECT count(*) FROM projects").get == 5
    connection.close()


@pytest.mark.parametrize("which", ["all", "first", "newest four"])
async def test_where_objects_are_gone_no_machine_begins_a_new_history(
    start: Start, store: FakeStore, tmp_path: Path, which: str
) -> None:
    served = await with_projects(start)
    gone = {"all": transactions(store), "first": transactions(store)[:1], "newest four": transactions(store)[-4:]}[
        which
    ]
    for key in gone:
        del store.objects[key]
    left = store.keys()
    cold = await start()
    if which == "newest four":
        # A shorter log that is whole is a valid older state, unless a client sends a position beyond its end.
        assert await cold.names() == ["n0", "n1"]
        assert await cold.names(**{"X-Sync-Position": "7"}) == "sync-damaged"
    else:
        assert await cold.names() == "sync-damaged"
        assert (await cold.add("new")).json()["type"] == "/problems/sync-damaged"
    assert store.keys() == left
    # The Machine that has a copy keeps it and appends behind the gap. The next one that opens the profile says so.
    assert (await served.add("after")).status_code == 201
    assert await served.names() == ["after", *(f"n{number}" for number in range(6))]
    assert await (await start()).names() == "sync-damaged"
    first = min(gone).rpartition("/")[2].partition("-")[0]
    assert f"TXID {first} is missing" in await problems(store, tmp_path)


async def test_a_machine_that_is_ahead_of_the_log_says_so_after_half_the_retention(
    start: Start, store: FakeStore
) -> None:
    served = await with_projects(start)
    for key in transactions(store)[-4:]:
        del store.objects[key]
    assert await served.names() == [f"n{number}" for number in range(6)]
    store.clock += 16 * 86400
    assert await served.names() == "sync-damaged"


async def test_a_machine_that_is_behind_a_log_which_was_set_back_does_not_go_back_silently(
    start: Start, store: FakeStore
) -> None:
    served = await with_projects(start)
    other = await start()
    assert await other.names() == [f"n{number}" for number in range(6)]
    for key in transactions(store)[-4:]:
        del store.objects[key]
    # The next file is there again, of another history, in front of the hole.
    restored = await start()
    assert (await restored.add("restored")).status_code == 201
    position = {"X-Sync-Position": "12"}
    for machine in (served, other, restored):
        assert await machine.names(**position) == "sync-damaged"


async def test_what_an_older_release_writes_into_the_whole_file_after_the_take_over_is_noticed_and_told(
    start: Start, store: FakeStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = apsw.Connection(str(tmp_path / "old.sqlite"))
    schema.migrate(old)
    old.execute("INSERT INTO projects VALUES ('p1', 'of old', '{}', '2026', '2026')")
    old.close()
    data = (tmp_path / "old.sqlite").read_bytes()
    await store.put_bytes(PROFILE.database, data)
    machine = await start()
    assert await machine.names() == ["of old"]
    assert (await machine.add("new")).status_code == 201
    told = "an older release still writes it"
    with caplog.at_level(logging.ERROR, "app.replication.replica"):
        assert await (await start()).names() == ["new", "of old"]
        assert told not in caplog.text
        assert await problems(store, tmp_path / "before") == ""
        await store.put_bytes(PROFILE.database, data[:-1] + b"\0")
        # Noticed by a Machine that opens the profile; what the older release stored there is not shown.
        assert await (await start()).names() == ["new", "of old"]
    assert told in caplog.text
    assert "../database.sqlite: changed after it was taken over" in await problems(store, tmp_path / "after")


async def test_environments_in_one_bucket_see_nothing_of_each_other(start: Start, store: FakeStore) -> None:
    await with_projects(start, 1)
    other = await start(APP_ENV="prod")
    assert (await other.ask("GET", "/api/projects")).status_code == 404
    before = set(store.keys())
    assert (await other.ask("POST", "/api/profiles", {"name": "x", "id": "main"})).status_code == 201
    assert await other.names() == []
    assert {key.split("/")[0] for key in set(store.keys()) - before} == {"prod"}


async def test_a_client_that_sends_its_position_back_never_goes_back_in_fifteen_rounds(start: Start) -> None:
    one = await with_projects(start, 1)
    other = await start(SYNC_READ_CHECK="never")
    assert len(await other.names()) == 1
    for number in range(15):
        made = await one.add(f"fresh{number}")
        project, known = made.json()["id"], {"X-Sync-Position": made.headers["x-sync-position"]}
        assert (await other.ask("GET", f"/api/projects/{project}", **known)).status_code == 200
        changed = await other.ask("PATCH", f"/api/projects/{project}", {"name": f"changed{number}"}, **known)
        assert changed.status_code == 200
        known = {"X-Sync-Position": changed.headers["x-sync-position"]}
        assert f"changed{number}" in await one.names(**known)
        gone = await one.ask("DELETE", f"/api/projects/{project}", **known)
        assert gone.status_code == 204
        known = {"X-Sync-Position": gone.headers["x-sync-position"]}
        assert (await other.ask("GET", f"/api/projects/{project}", **known)).status_code == 404
        assert (await other.ask("PATCH", f"/api/projects/{project}", {"name": "back"}, **known)).status_code == 404
