"""A service that the app needs besides R2 and Modal is down, does not answer, or closes idle connections."""

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
    """Put the service into a state (``away``: refuses connections; ``silent``: never answers), and restore it."""
    await stack.admin("POST", f"/services/{name}/{action}")
    try:
        yield
    finally:
        await stack.admin("POST", f"/services/{name}/back")


@check(
    "R",
    "While a service is down every request gets an answer that the page can read, and the app recovers afterwards",
    broken=Proxy("stuck_after_failure"),
    because="no write is acknowledged",
    needs=("services",),
    rests_on=("test_writes_last",),
    alone=True,
    deadline_s=400,
)
async def test_service_away(person: Person, machines: Machines, stack: Stack) -> None:
    """Give connections and queries a timeout, answer 503 inside the CORS middleware, and reconnect automatically."""
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
                f'{what} the page cannot read the refusal ({last["asked"]}: {last["answer"]}) and sees only "Failed to'
                ' fetch": answer 503 inside the CORS middleware'
            )
            assert not write.acknowledged or probe.startswith("2"), (
                f"{what} writes work, but the health check answers {probe}, so Fly would stop routing to an app that"
                " works: report the service on another route"
            )
            later = await until(person.attempt, lambda one: one.acknowledged, PATIENCE_S)
            assert later.acknowledged, (
                f"{PATIENCE_S:g} s after {name} came back no write is acknowledged: {later.answer}. Let the connection"
                " pool test connections before use, and replace dead ones"
            )
            lost = missing([early, write, later], await person.reads())
            assert not lost, (
                f"after {name} came back {len(lost)} acknowledged writes are not shown: {', '.join(lost)}. Acknowledge"
                " a write only when it is committed"
            )


@check(
    "R",
    "After a service has closed idle connections, the next writes succeed",
    broken=Proxy("first_after_idle_fails"),
    because="after idle connections were cut",
    needs=("services",),
    rests_on=("test_writes_last",),
    alone=True,
    deadline_s=120,
)
async def test_connections_cut(person: Person, stack: Stack) -> None:
    """Let the connection pool test a connection before use (SQLAlchemy: pool_pre_ping)."""
    for name in stack.site.project.parity.services:
        # Concurrent writes make the pool open several connections.
        kept = await asyncio.gather(*(person.attempt() for _ in range(6)))
        await asyncio.sleep(1)  # the connections become idle
        await stack.admin("POST", f"/services/{name}/cut")
        after = [await person.attempt() for _ in range(3)]
        refused = [write.answer for write in after if not write.acknowledged]
        assert not refused, (
            f"after idle connections were cut by {name}, as a database or a firewall does after a quiet night, a write"
            f" fails: {refused[0]}. Let the connection pool test a connection before use (pre-ping)"
        )
        lost = missing([*kept, *after], await person.reads())
        assert not lost, f"after {name} cut its connections, acknowledged writes are not shown: {', '.join(lost)}"


@check(
    "R",
    "A Machine that starts while a service is down serves requests once the service is back",
    broken=Proxy("answers", status=500),
    because="once .* is back",
    needs=("services",),
    rests_on=("test_writes_last",),
    alone=True,
    deadline_s=200,
)
async def test_boot_without_service(person: Person, machines: Machines, stack: Stack) -> None:
    """Connect when a request needs the service, or exit, so that Fly restarts the Machine."""
    for name in stack.site.project.parity.services:
        async with machines.booting() as made:
            async with service(stack, name, "away"):
                await until(lambda made=made: machines.get(made), lambda seen: seen["port"] != "probing", PATIENCE_S)  # type: ignore[misc]
            await machines.open(made)
            shown = await until(person.on(made).reads, lambda seen: not isinstance(seen, str), PATIENCE_S)
        assert not isinstance(shown, str), (
            f"a Machine that started while {name} was down does not serve once {name} is back: {shown}. Connect when a"
            " request needs the service, or exit, so that Fly restarts the Machine"
        )
