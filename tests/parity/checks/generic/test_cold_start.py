"""A Machine that boots while R2 is down: what it may do, and what does harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from parity.checks.generic import test_cold_start as checks
from parity.checks.person import Attempt
from parity.checks.stack import StackError
from parity.contract import InBucket, Refused


class World:
    """R2, one Machine and an app that stores all people in one object. ``kind`` is what it does without R2."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.r2: dict[str, list[str]] = {}
        self.down = False
        self.memory: dict[str, list[str]] | None = None
        self.port = "open"
        self.stack = None

    # machines

    async def all(self) -> list[dict[str, str]]:
        return [{"id": "m1"}]

    async def destroy(self, _machine: str) -> None:
        self.memory = None

    async def get(self, _machine: str) -> dict[str, Any]:
        return {"state": "started", "port": self.port, "events": []}

    async def open(self, machine: str) -> str:
        self.port = "closed" if self.kind == "never again" else "open"
        if self.port == "closed":
            raise StackError("Machine m2 does not open its port within 20 s")
        return machine

    @asynccontextmanager
    async def booting(self) -> AsyncIterator[str]:
        if self.kind in ("ends", "never again"):
            self.port = "closed"
        if self.kind in ("empty", "empty for who is new", "empty later"):
            self.memory = {}
        yield "m2"

    async def replace_all(self) -> str:
        self.memory = None
        return "m3"

    # faults

    @asynccontextmanager
    async def on(self, _key: str, **_: Any) -> AsyncIterator[Any]:
        self.down = True
        yield SimpleNamespace(fired=1)
        self.down = False

    # the app

    def loaded(self, user: str) -> dict[str, list[str]]:
        if self.down and self.kind == "unknown":
            raise Refused("GET /notes", 401, "")
        if (self.kind == "empty for who is new" and user == "ada") or self.memory is None:
            if self.down:
                raise Refused("GET /notes", 503, "")
            if self.kind == "empty for who is new" and self.memory is not None:
                return {user: list(self.r2.get(user, ()))}
            self.memory = {who: list(texts) for who, texts in self.r2.items()}
        if self.down and self.kind == "empty later":
            raise Refused("GET /notes", 503, "")
        return self.memory

    def person(self, user: str) -> Any:
        app = SimpleNamespace(sign_in=self._sign_in(user))

        async def read() -> list[str]:
            return list(self.loaded(user).get(user, ()))

        async def reads() -> list[str] | str:
            try:
                return await read()
            except Refused as refused:
                return str(refused)

        async def attempt() -> Attempt:
            text = f"{user} {sum(map(len, self.r2.values()))}"
            state = self.loaded(user)
            state.setdefault(user, []).append(text)
            self.r2 = {who: list(texts) for who, texts in state.items()}
            return Attempt(text, True, "")

        found = SimpleNamespace(app=app, read=read, reads=reads, attempt=attempt, keeps=InBucket("s/"))
        found.on = lambda _machine: found
        found.another = lambda: self.person("ben")
        return found

    def _sign_in(self, user: str) -> Any:
        async def sign_in() -> None:
            self.loaded(user)

        return sign_in


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("honest", ""),
        ("ends", ""),
        ("empty", "as if the person had nothing"),
        ("empty later", "answers after it as if the person had nothing"),
        ("empty for who is new", "the earlier write is lost for good"),
        ("unknown", "as if it did not know them"),
        ("never again", "does not serve after the outage either"),
    ],
)
def test_a_boot_without_r2(kind: str, said: str) -> None:
    world = World(kind)
    check: Any = checks.test_boot_in_outage
    with asyncio.Runner() as runner:
        if not said:
            check(runner=runner, person=world.person("ada"), machines=world, faults=world)
            return
        with pytest.raises(AssertionError, match=said):
            check(runner=runner, person=world.person("ada"), machines=world, faults=world)


def test_a_refusal_that_stays_after_the_outage_is_named() -> None:
    with pytest.raises(AssertionError, match="with a refusal: GET /notes answered 503"):
        checks.wrong_view(Refused("GET /notes", 503, ""), [], "after it")
    checks.wrong_view(Refused("GET /notes", 503, ""), [], "during the outage")
