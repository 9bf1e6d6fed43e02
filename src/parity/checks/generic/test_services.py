"""What the app needs beside R2 and Modal is away, silent, or cuts idle connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parity.checks import Proxy, check
from parity.checks.generic.support import PATIENCE_S, probed, readable, until
from parity.checks.machines import Machines
from parity.checks.person import Person, missing
from parity.checks.stack import Stack


@asynccontextmanager
async def service(stack: Stack, name: str, action: str) -> AsyncIterator[None]:
    """The service in that state; as before afterwards."""
    await stack.admin("POST", f"/services/{name}/{action}")
    try:
        yield
    finally:
        await stack.admin("POST", f"/services/{name}/back")


@check(
    "R",
    "While a service is away every request is answered, readable for the page, and the app recovers afterwards",
    broken=Proxy("stuck_after_failure"),
    because="no write is acknowledged",
    needs=("services",),
    rests_on=("test_writes_last",),
    alone=True,
    deadline_s=400,
)
async def test_service_away(person: Person, machines: Machines, stack: Stack) -> None:
    """Give connections and queries a timeout, answer 503 inside of CORS, and reconnect by yourself."""
    machine = await machines.first()
    for name in stack.site.project.parity.services:
        early = await person.attempt()
        for action in ("away", "silent"):
            async with service(stack, name, action):
                write = await person.attempt()
                last = stack.said[-1]
                probe = await probed(stack, machine)
            what = f"with {name} {action}"
            assert "answered nothing" not in write.answer, (
                f"{what} a write is not answered: {write.answer}. Give connections and queries a timeout"
            )
            assert write.acknowledged or readable(last.get("answer_headers", {}), stack.site.origin), (
                f'{what} the page cannot read the refusal ({last["asked"]}: {last["answer"]}): it sees "Failed to'
                ' fetch"'
            )
            assert not write.acknowledged or probe.startswith("2"), (
                f"{what} writes work, and the health check answers {probe}: Fly would stop routing to an app that works"
            )
            later = await until(person.attempt, lambda one: one.acknowledged, PATIENCE_S)
            assert later.acknowledged, (
                f"{PATIENCE_S:g} s after {name} came back no write is acknowledged: {later.answer}. Connections of the"
                " pool must be tried before use, and replaced"
            )
            lost = missing([early, write, later], await person.reads())
            assert not lost, f"after {name} came back {len(lost)} acknowledged writes are not shown"


@check(
    "R",
    "After a service has cut idle connections the next requests are answered like any other",
    broken=Proxy("first_after_idle_fails"),
    because="after idle connections were cut",
    needs=("services",),
    rests_on=("test_writes_last",),
    alone=True,
    deadline_s=120,
)
async def test_connections_cut(person: Person, stack: Stack) -> None:
    """Let the pool try a connection before it gives it out (pool_pre_ping)."""
    for name in stack.site.project.parity.services:
        # Several connections of a pool are to be in use before they are cut.
        kept = await asyncio.gather(*(person.attempt() for _ in range(6)))
        await asyncio.sleep(1)  # now they are idle
        await stack.admin("POST", f"/services/{name}/cut")
        after = [await person.attempt() for _ in range(3)]
        refused = [write.answer for write in after if not write.acknowledged]
        assert not refused, (
            f"after idle connections were cut, as a database or a firewall does at night, {name} makes a write fail:"
            f" {refused[0]}. Let the pool try a connection before it gives it out (pre-ping)"
        )
        assert not missing([*kept, *after], await person.reads()), f"writes are lost after {name} cut its connections"


@check(
    "R",
    "A Machine boots, or says why not, while a service is away, and serves once it is back",
    broken=Proxy("answers", status=500),
    because="once .* is back",
    needs=("services",),
    rests_on=("test_writes_last",),
    alone=True,
    deadline_s=200,
)
async def test_boot_without_service(person: Person, machines: Machines, stack: Stack) -> None:
    """Connect when a request needs it, or end, so that Fly starts the Machine again."""
    for name in stack.site.project.parity.services:
        async with machines.booting() as made:
            async with service(stack, name, "away"):
                await until(lambda made=made: machines.get(made), lambda seen: seen["port"] != "probing", PATIENCE_S)  # type: ignore[misc]
            await machines.open(made)
            shown = await until(person.on(made).reads, lambda seen: not isinstance(seen, str), PATIENCE_S)
        assert not isinstance(shown, str), (
            f"a Machine that started while {name} was away does not serve once {name} is back: {shown}. Connect when a"
            " request needs it, or end, so that Fly starts the Machine again"
        )
