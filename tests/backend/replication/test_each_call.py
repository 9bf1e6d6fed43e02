"""Every call of the object store fails once, before or after its effect: what clients were told holds all the same.

``RUN_SLOW=1`` fails each call in turn, which takes some minutes; without it every tenth one is failed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from tests.backend.fakes import FakeStore, Fault

from app.context import UserContext
from app.main import create_app
from app.replication.layout import EMPTIED
from app.settings import Settings
from app.storage.interface import StorageUnavailable
from app.storage.keys import Keys

HEADERS = {"X-User-ID": "alice", "X-Profile-ID": "main"}
PREFIX = Keys("staging").profile(UserContext("alice", "main")).prefix
# More than one failure can cost.
REPEATS = 6
EVERY = 1 if os.environ.get("RUN_SLOW") == "1" else 10


class FailsOnce(FakeStore):
    """Fails call number ``at``, counted from 0; one that writes may do so ``afterwards``, when its effect is there."""

    def __init__(self, at: int, *, afterwards: bool) -> None:
        super().__init__()
        self.at, self.afterwards = at, afterwards
        self.failed = ""

    async def _enter(self, operation: str, key: str) -> Fault | None:
        found = await super()._enter(operation, key)
        if len(self.calls) - 1 == self.at:
            self.failed = f"{operation} {key}"
            error = Fault(operation, StorageUnavailable("503"))
            if self.afterwards and operation == "put":
                return error
            raise error.error
        return found


class Story:
    """What one client does with its profile by way of two Machines without routing, and what it may conclude:
    ``kept`` are names that were acknowledged, ``unknown`` ones that may be there."""

    def __init__(self, make: Callable[[], Settings], store: FakeStore) -> None:
        self._make, self._store = make, store
        self.kept: set[str] = set()
        self.unknown: set[str] = set()

    async def play(self) -> None:
        async with AsyncExitStack() as stack:
            one, two = [await self._start(stack) for _ in range(2)]
            assert await self._ask(one, "POST", "/api/profiles", {"name": "x", "id": "main"}) in (201, 409)
            for number, machine in enumerate((one, one, two, one, two)):
                await self._add(machine, f"n{number}")
            found = await self._list(two)
            # Where the first answer was lost there are two of a kind; any of the acknowledged ones will do.
            renamed, gone = [item for item in found if item["name"] in self.kept][:2]
            path = f"/api/projects/{renamed['id']}"
            assert await self._ask(one, "PATCH", path, {"name": "renamed"}) == 200
            assert await self._ask(two, "DELETE", f"/api/projects/{gone['id']}") in (204, 404)
            self.kept = self.kept - {renamed["name"], gone["name"]} | {"renamed"}
            self._check(await self._list(one))
            self._check(await self._list(two))
        async with AsyncExitStack() as stack:
            one, two = [await self._start(stack) for _ in range(2)]
            self._check(await self._list(one))
            assert await self._ask(two, "DELETE", "/api/profiles/main") in (204, 410)
            for machine in (one, two):
                assert await self._ask(machine, "GET", "/api/projects") == 410
                assert await self._ask(machine, "POST", "/api/projects", {"name": "late"}) == 410
            assert await self._ask(one, "POST", "/api/profiles", {"name": "x", "id": "main"}) == 410
        left = {key: data for key, (data, *_) in self._store.objects.items() if key.startswith(PREFIX)}
        assert set(left.values()) == {EMPTIED}, sorted(left)

    async def _start(self, stack: AsyncExitStack) -> httpx.AsyncClient:
        app = create_app(self._make(), self._store)
        await stack.enter_async_context(app.router.lifespan_context(app))
        transport = httpx.ASGITransport(app)
        client = httpx.AsyncClient(transport=transport, base_url="https://api.test", headers=HEADERS)
        return await stack.enter_async_context(client)

    async def _add(self, machine: httpx.AsyncClient, name: str) -> None:
        """Create a project under a name that has not been tried before."""
        for turn in range(REPEATS):
            tried = name if turn == 0 else f"{name}.{turn}"
            answer = await self._once(machine, "POST", "/api/projects", {"name": tried})
            if answer.status_code == 201:
                self.kept.add(tried)
                return
            if answer.headers.get("x-sync-status") != "conflict":
                self.unknown.add(tried)
        raise AssertionError(f"{name} was refused {REPEATS} times")

    async def _list(self, machine: httpx.AsyncClient) -> list[dict[str, Any]]:
        for _ in range(REPEATS):
            answer = await self._once(machine, "GET", "/api/projects")
            if answer.status_code == 200:
                listed: list[dict[str, Any]] = answer.json()["projects"]
                return listed
        raise AssertionError(f"the list was refused {REPEATS} times")

    async def _ask(self, machine: httpx.AsyncClient, method: str, path: str, body: Any = None) -> int:
        for _ in range(REPEATS):
            answer = await self._once(machine, method, path, body)
            if answer.status_code != 503:
                return answer.status_code
        raise AssertionError(f"{method} {path} was refused {REPEATS} times")

    async def _once(self, machine: httpx.AsyncClient, method: str, path: str, body: Any = None) -> httpx.Response:
        answer = await machine.request(method, path, json=body)
        assert answer.status_code < 500 or "retry-after" in answer.headers, answer.text
        return answer

    def _check(self, found: list[dict[str, Any]]) -> None:
        names = [item["name"] for item in found]
        assert len(names) == len(set(names))
        assert self.kept <= set(names) <= self.kept | self.unknown


@pytest.mark.timeout(1800)  # seconds, on a loaded machine
@pytest.mark.parametrize("afterwards", [False, True], ids=["before its effect", "after its effect"])
async def test_what_was_acknowledged_is_there_and_what_was_deleted_is_gone_after_a_failure_of_any_call(
    make_settings: Callable[..., Settings], afterwards: bool
) -> None:
    store = FailsOnce(-1, afterwards=False)
    await Story(make_settings, store).play()
    calls = len(store.calls)
    assert calls > 50
    for at in range(afterwards, calls, EVERY):
        store = FailsOnce(at, afterwards=afterwards)
        try:
            await Story(make_settings, store).play()
        except Exception as error:
            error.add_note(f"call {at} failed: {store.failed}")
            raise
