"""A service that the app needs besides R2 and Modal is down, does not answer, or closes idle connections."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial

from parity.checks import Proxy, Wrap, check, not_judged
from parity.checks.generic.support import PATIENCE_S, not_declared, probed_in_time, probes_beside, readable, until
from parity.checks.machines import Machines
from parity.checks.person import Attempt, People, Person, missing
from parity.checks.stack import Stack
from parity.contract import RateLimited, Refused
from parity.wraps import boot

# Seconds without a byte after which a connection counts as idle.
IDLE_S = 0.6
# What a framework answers for an exception that the app did not expect.
CRASHED = 500


@asynccontextmanager
async def service(stack: Stack, name: str, action: str) -> AsyncIterator[None]:
    """Put a service or a stub into a state (``away``, ``silent``, ``frozen``), and restore it at the end.

    With ``silent`` open connections are cut: an app that keeps them in a pool would not notice anything else.
    """
    await stack.admin("POST", f"/services/{name}/{action}")
    try:
        if action == "silent" and name in stack.site.project.parity.services:
            await stack.admin("POST", f"/services/{name}/cut")
        yield
    finally:
        await stack.admin("POST", f"/services/{name}/back")


async def require_used(person: Person, stack: Stack, name: str) -> None:
    """End the check as "not judged" where no Machine ever connected to the service: its absence would show nothing."""
    await person.attempt()
    if not (await stack.admin("GET", "/services"))[name]["accepted"]:
        address = "${PARITY_SERVICE_" + name.upper().replace("-", "_") + "}"
        not_judged(
            f"no Machine has connected to {name}, so nothing shows what its absence does. Give the app its address,"
            f" {address}, in a secret or in [standin.env], or remove [services.{name}] from parity.toml"
        )


@check(
    "R",
    "While a service is down every request gets an answer that the page can read, and the app recovers afterwards",
    broken=Proxy("stuck_after_failure"),
    because="came back no write is acknowledged",
    needs=("services",),
    rests_on=("test_writes_last",),
    alone=True,
    deadline_s=400,
)
async def test_service_away(person: Person, stack: Stack) -> None:
    """Give connections and queries a timeout, answer 503 inside the CORS middleware, and reconnect automatically."""
    for name in stack.site.project.parity.services:
        await require_used(person, stack, name)
        early = await person.attempt()
        for action in ("away", "silent"):
            async with service(stack, name, action):
                write = await person.attempt()
                last = stack.said[-1]
            what = f"with {name} {action}"
            assert "answered nothing" not in write.answer, (
                f"{what} a write is not answered: {write.answer}. Give connections and queries a timeout"
            )
            assert write.acknowledged or readable(last.get("answer_headers", {}), stack.site.origin), (
                f'{what} the page cannot read the refusal ({last["asked"]}: {last["answer"]}) and sees only "Failed to'
                ' fetch": answer 503 inside the CORS middleware'
            )
            assert last["answer"] != CRASHED, (
                f"{what} a write fails as a crash does: {write.answer}. Catch the error of the service: do without it"
                " where it only helps (a cache, a limiter), and answer 503 where the write needs it"
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
    "O",
    "The health check stays green while a service is away: Fly would take every Machine away at once",
    broken=Wrap(boot.unhealthy_after_failure, {"seconds": 60.0}),
    because="with .* the health check answers",
    needs=("services",),
    rests_on=("test_writes_last",),
    alone=True,
    deadline_s=200,
)
async def test_health_without_service(person: Person, machines: Machines, stack: Stack) -> None:
    """Let the health check say whether this process serves, and report the service elsewhere."""
    machine = await machines.first()
    for name in stack.site.project.parity.services:
        await require_used(person, stack, name)
        for action in ("away", "silent"):
            async with service(stack, name, action):
                probe = await probed_in_time(stack, machine)
                if probe.startswith("2"):
                    await person.attempt()
                    probe = await probed_in_time(stack, machine)
            assert probe.startswith("2"), (
                f"with {name} {action} the health check answers {probe}. Fly stops routing to a Machine that fails it,"
                " so every request then gets 503 from the edge, which no page can read, those too that need no"
                f" {name}; report the service elsewhere"
            )
            await until(person.attempt, lambda one: one.acknowledged, PATIENCE_S)


@check(
    "U",
    "The health check is answered in time while requests wait for a service that does not answer",
    broken=Wrap(boot.blocking, {"seconds": 8.0}),
    because="blocks the event loop",
    needs=("services",),
    rests_on=("test_health_without_service",),
    alone=True,
    deadline_s=200,
)
async def test_loop_is_free_of_services(person: Person, machines: Machines, stack: Stack) -> None:
    """Ask the service with an asynchronous client, or in threads (asyncio.to_thread)."""
    machine, probes = await machines.first(), 0
    for name in stack.site.project.parity.services:
        # One of each: a frozen service blocks an event loop for good, and more could use up a server's threads.
        requests = (person.attempt, person.reads)
        async with service(stack, name, "frozen"):
            busy: list[asyncio.Task[object]] = [asyncio.create_task(ask()) for ask in requests]
            answers = await probes_beside(busy, stack, machine)
        await asyncio.gather(*busy)
        probes += len(answers)
        late = [answer for answer in answers if not answer.startswith("2")]
        assert not late, (
            f"while {name} is frozen, the health check is not answered within its timeout of"
            f" {stack.site.probe_timeout_s:g} s ({len(late)} of {len(answers)} probes: {late[0]}): something"
            " synchronous blocks the event loop"
        )
        await until(person.attempt, lambda one: one.acknowledged, PATIENCE_S)
    if not probes:
        not_declared("neither a read nor a write waits for a service")


async def idle(stack: Stack, name: str) -> list[float]:
    """For each open connection to the service, the seconds since bytes last went over it."""
    found: list[float] = (await stack.admin("GET", "/services"))[name]["idle_s"]
    return found


def kept_idle(began: float, ended: float, connections: Sequence[float]) -> bool:
    """Whether the app is idle since the writes ``ended``, and so is a connection that was used since they ``began``.

    Where none is open the app keeps none, and none can be cut.
    """
    now = time.monotonic()
    used = any(IDLE_S <= seconds < now - began for seconds in connections)
    return now - ended >= IDLE_S and (used or not connections)


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
        began = time.monotonic()
        # Concurrent writes make the pool open several connections.
        kept = await asyncio.gather(*(person.attempt() for _ in range(6)))
        await until(partial(idle, stack, name), partial(kept_idle, began, time.monotonic()), PATIENCE_S)
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
        await require_used(person, stack, name)
        async with machines.booting() as made:
            async with service(stack, name, "away"):
                await until(lambda made=made: machines.get(made), lambda seen: seen["port"] != "probing", PATIENCE_S)  # type: ignore[misc]
            await machines.open(made)
            shown = await until(person.on(made).reads, lambda seen: not isinstance(seen, str), PATIENCE_S)
        assert not isinstance(shown, str), (
            f"a Machine that started while {name} was down does not serve once {name} is back: {shown}. Connect when a"
            " request needs the service, or exit, so that Fly restarts the Machine"
        )


@check(
    "R",
    "While an outside API is away, what a person does is answered, readable for the page, and works again afterwards",
    broken=Proxy("stuck_after_failure"),
    because="after .* came back no (write|new person)",
    needs=("stubs",),
    rests_on=("test_writes_last",),
    alone=True,
    deadline_s=400,
)
async def test_outside_api_away(person: Person, people: People, newcomer: Person, stack: Stack) -> None:
    """Answer 502 or 503 inside of CORS where the API of others is needed, and do without it elsewhere."""
    for name in stack.site.project.parity.stubs:
        for action in ("away", "silent"):
            await without(name, action, person, newcomer, stack)
        later = await until(person.attempt, lambda one: one.acknowledged, PATIENCE_S)
        assert later.acknowledged, f"{PATIENCE_S:g} s after {name} came back no write is acknowledged: {later.answer}"
        try:
            await people()
        except Refused as refused:
            raise AssertionError(f"after {name} came back no new person can sign in: {refused}") from None


async def without(name: str, action: str, person: Person, newcomer: Person, stack: Stack) -> None:
    """What a person and someone new do is answered, and so is the health check, with the outside API ``away`` (it
    answers 503) or ``silent`` (it never answers)."""
    began, machine = len(stack.said), await Machines(stack).first()

    async def do() -> tuple[Attempt, Collection[str] | str]:
        write, shown = await person.attempt(), await person.reads()
        with contextlib.suppress(Refused, RateLimited):  # a sign-in by mail needs its provider
            await newcomer.app.sign_in()
        return write, shown

    async with service(stack, name, action):
        doing = asyncio.create_task(do())
        probes = await probes_beside([doing], stack, machine)
        write, shown = await doing
        probes.append(await probed_in_time(stack, machine))
    told = "is away (it answers 503)" if action == "away" else "is silent (it takes a request and never answers)"
    unreadable = [
        f"{one['asked']} is answered {one['answer'] or 'nothing'}"
        for one in stack.said[began:]
        if stack.target.api_url in one["asked"]  # the health check is asked at the Machine's own address
        and (one["answer"] is None or not readable(one.get("answer_headers", {}), stack.site.origin))
    ]
    assert not unreadable, (
        f"while {name} {told}, the page cannot read what the app answers: {unreadable[0]}. Give the call a timeout of a"
        " few seconds, and answer 502 or 503 inside the CORS middleware"
    )
    ill = [probe for probe in probes if not probe.startswith("2")]
    assert not ill, (
        f"while {name} {told}, the health check answers {ill[0]} in {stack.site.probe_timeout_s:g} s, its timeout: Fly"
        " would stop routing to every Machine. Leave that API out of the health check, and call it with an asynchronous"
        " client or in a thread, because a synchronous call in an async handler blocks the event loop"
    )
    assert not missing([write], shown), f"while {name} {told}, an acknowledged write is not shown: {shown}"
