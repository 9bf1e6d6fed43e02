"""What the harness says of a request while a variant is in force: the contract's method, and whether it only asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parity.admin.app import serving
from parity.checks.doing import saying
from parity.checks.stack import Site, Stack
from parity.contract import Api, Edit, InBucket, Job, JobState
from parity.stack.target import Target


class Contract:
    """Each request is a POST to one path."""

    keeps: ClassVar[InBucket] = InBucket("notes/")

    def __init__(self, api: Api) -> None:
        self.api = api

    async def _ask(self) -> Any:
        return await self.api.call("POST", "/rpc", {})

    async def sign_in(self) -> None:
        await self._ask()

    async def write(self, text: str) -> None:
        await self.read()
        await self._ask()

    async def read(self) -> Collection[str]:
        return [str(await self._ask())]

    async def edit(self) -> Sequence[Edit]:
        async def do(text: str) -> None:
            await self._ask()

        async def shown() -> str:
            return str(await self._ask())

        return [Edit(do, shown)]

    async def job(self) -> Job:
        async def state() -> JobState:
            await self._ask()
            return JobState("done")

        return Job(state, 7.0)


@pytest.fixture
async def heard() -> AsyncIterator[list[str]]:
    """What an app at ``ADDRESS[0]`` heard of each request, oldest first; ``-`` for nothing."""
    found: list[str] = []

    async def rpc(request: Request) -> Response:
        found.append(request.headers.get("x-parity-does", "-"))
        return JSONResponse({})

    async with serving(Starlette(routes=[Route("/rpc", rpc, methods=["POST"])]), "127.0.0.1", 0) as port:
        ADDRESS[:] = [f"http://127.0.0.1:{port}"]
        yield found


ADDRESS: list[str] = []


def app_of(*, says: bool) -> tuple[Any, Stack]:
    target = Target("local", ADDRESS[0], "", "", "", "", "http://admin.example", None, "process")
    site = Site(target, cast(Any, SimpleNamespace()), None)
    stack = Stack(site, cast(Any, None), says=says)
    return saying(cast(Any, Contract))(Api(stack.client(), None)), stack


async def used(app: Any) -> None:
    await app.sign_in()
    await app.write("a")
    await app.read()
    field = (await app.edit())[0]
    await field.do("b")
    await field.shown()
    job = await app.job()
    assert job.done_s == 7.0
    assert (await job.state()).at == "done"
    await app.api.call("POST", "/rpc", {})


async def test_each_request_says_what_the_contract_does(heard: list[str]) -> None:
    app, stack = app_of(says=True)
    await used(app)
    assert heard == ["sign_in", "read", "write", "read", "change", "read", "read", "-"]
    await stack._clients[0].aclose()


async def test_without_a_variant_the_app_hears_nothing_of_it(heard: list[str]) -> None:
    app, stack = app_of(says=False)
    await used(app)
    assert heard == ["-"] * 8
    await stack._clients[0].aclose()


def test_what_the_contract_lacks_stays_absent() -> None:
    found = saying(cast(Any, Contract))
    assert [hasattr(found, name) for name in ("edit", "job", "delete", "upload", "cold_person")] == [
        True,
        True,
        *[False] * 3,
    ]
