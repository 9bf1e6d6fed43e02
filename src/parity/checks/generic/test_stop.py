"""Machines are stopped, killed, frozen and woken, as Fly does it every day."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

from parity.checks import Proxy, Wrap, check, not_judged
from parity.checks.faults import Faults
from parity.checks.generic.support import PATIENCE_S, acknowledged, answered, asks_r2, not_declared, until, within_s
from parity.checks.machines import Machines
from parity.checks.person import Attempt, Person, missing
from parity.checks.stack import Stack
from parity.wraps import boot

MANY = 8
# How long a Machine is suspended here, in seconds; longer than its clients keep a connection without a sign of life.
FROZEN_S = 3.0
# What uploads in the background may pause for so long after failures before it tries again, in seconds.
CATCH_UP_S = 10.0
HOUR_S = 3600


async def inside(machines: Machines, machine: str, under_way: list[asyncio.Task[Attempt]]) -> None:
    """Until some of the requests are in the Machine, or answered already."""
    await until(
        lambda: machines.get(machine),
        lambda seen: seen["requests"] + sum(task.done() for task in under_way) >= len(under_way) // 2,
        PATIENCE_S,
    )


@check(
    "I",
    "A stop loses no acknowledged write, and breaks off no request that is under way",
    broken=Proxy("answered_early", seconds=60.0),
    because="acknowledged writes are lost over a stop",
    alone=True,
    deadline_s=200,
    rests_on=("test_durable",),
)
async def test_stop_amid_writes(person: Person, machines: Machines, faults: Faults) -> None:
    """Finish the requests that are under way before the process ends."""
    await person.write()
    machine = await machines.first()
    async with faults.on(f"*{person.owns}*", "PutObject", delay=0.4, must_fire=asks_r2(person)):
        under_way = [asyncio.create_task(person.attempt()) for _ in range(MANY)]
        await inside(machines, machine, under_way)
        await machines.stop(machine)
        kept = await asyncio.gather(*under_way)
    shown = await answered(person.on(await machines.replace_all()))
    lost = missing(kept, shown)
    assert not lost, (
        f"{len(lost)} of {acknowledged(kept)} acknowledged writes are lost over a stop: upload before the answer, or"
        " finish what is under way before the process ends"
    )
    broken = [write.answer for write in kept if re.search(r"answered (0|nothing|5\d\d)", write.answer)]
    broken = [answer for answer in broken if "503" not in answer]
    assert not broken, f"{len(broken)} of {MANY} requests under way at the stop were broken off: {broken[0]}"


@check(
    "I",
    "A killed Machine takes no acknowledged write with it",
    broken=Proxy("answered_early", seconds=60.0),
    because="acknowledged writes are lost with a killed Machine",
    alone=True,
    deadline_s=150,
    rests_on=("test_durable",),
)
async def test_kill_amid_writes(person: Person, machines: Machines, faults: Faults) -> None:
    """Acknowledge only what R2 has: a killed process finishes nothing."""
    await person.write()
    machine = await machines.first()
    early = [await person.attempt() for _ in range(2)]
    async with faults.on(f"*{person.owns}*", "PutObject", delay=0.4, must_fire=False):
        under_way = [asyncio.create_task(person.attempt()) for _ in range(MANY)]
        await inside(machines, machine, under_way)
        await asyncio.sleep(within_s(person))
        await machines.kill(machine)
        late = await asyncio.gather(*under_way)
    kept = early if within_s(person) else [*early, *late]
    shown = await answered(person.on(await machines.replace_all()))
    lost = missing(kept, shown)
    assert not lost, (
        f"{len(lost)} of {acknowledged(kept)} acknowledged writes are lost with a killed Machine (its host failed, or"
        " it ran out of memory): what is acknowledged must be in R2, not on its disk"
    )
    later = await until(person.on(None).attempt, lambda write: write.acknowledged, PATIENCE_S)
    assert later.acknowledged, f"{PATIENCE_S:g} s after a Machine was killed no write is acknowledged: {later.answer}"


@check(
    "C",
    "A write whose upload R2 refused is not acknowledged, or is stored when the Machine stops",
    broken=Proxy("failure_acknowledged"),
    because="was acknowledged while R2 refused it",
    needs=("in_bucket",),
    alone=True,
    deadline_s=120,
    rests_on=("test_durable",),
)
async def test_stop_after_failed_upload(person: Person, machines: Machines, faults: Faults) -> None:
    """Keep what R2 refused as not stored, and upload it at the stop or refuse the write."""
    early = await person.attempt()
    async with faults.on(f"*{person.owns}*", "PutObject", status=503):
        write = await person.attempt()
        await asyncio.sleep(within_s(person))
    await machines.stop(await machines.first())
    shown = await answered(person.on(await machines.replace_all()))
    assert not missing([write], shown), (
        f"{write.text} was acknowledged while R2 refused it, and is lost after a stop although R2 was back by then"
    )
    assert not missing([early], shown), f"{early.text}, acknowledged before R2 refused anything, is lost after the stop"


@check(
    "C",
    "After R2 failed for a while, what is acknowledged reaches the bucket again, without a stop in order",
    broken=Proxy("answered_early", seconds=600.0),
    because="after R2 had failed",
    needs=("in_bucket",),
    alone=True,
    deadline_s=150,
    rests_on=("test_durable",),
)
async def test_catches_up_after_an_outage(person: Person, machines: Machines, faults: Faults) -> None:
    """Let a failed upload end neither the thread nor the process that uploads; try again until it works."""
    late_s = within_s(person)
    kept = [await person.attempt()]
    async with faults.on("*", status=503, must_fire=False) as outage:
        kept.append(await person.attempt())
        await asyncio.sleep(late_s)
    kept.append(await until(person.attempt, lambda write: write.acknowledged, PATIENCE_S))
    await asyncio.sleep(late_s and late_s + CATCH_UP_S)
    await machines.kill(await machines.first())
    shown = await answered(person.on(await machines.replace_all()))
    lost = missing(kept, shown)
    assert not lost, (
        f"{len(lost)} of {acknowledged(kept)} acknowledged writes never came to the bucket after R2 had failed for a"
        f" moment, and went with their Machine {late_s and late_s + CATCH_UP_S:g} s later: what uploads them gave up"
    )
    if not outage.fired:
        not_judged("nothing asked R2 during the outage")


@check(
    "I",
    "A Machine ends at its kill_signal, even while a client sends a body slowly",
    broken=Wrap(boot.slow_shutdown, {"seconds": 400.0}),
    because="did not end at its kill_signal",
    alone=True,
    deadline_s=400,
)
async def test_ends_at_its_signal(person: Person, machines: Machines, stack: Stack) -> None:
    """Bound the shutdown: --timeout-graceful-shutdown below kill_timeout, and cancel background tasks."""
    await person.write()
    last = next(one for one in reversed(stack.said) if not one["asked"].startswith(("GET ", "OPTIONS ")))
    method, _, url = last["asked"].partition(" ")
    machine = await machines.first()
    go_on = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await go_on.wait()

    headers = {**person.on(machine).api.all_headers, "Content-Type": "application/json", "Content-Length": "4096"}
    request = asyncio.create_task(stack.http.request(method, url, headers=headers, content=slowly()))
    try:
        await until(lambda: machines.get(machine), lambda seen: seen["requests"] > 0, PATIENCE_S)
        signals = await machines.stop(machine)
    finally:
        go_on.set()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
    fly = stack.site.project.fly
    assert len(signals) == 1, (
        f"the Machine did not end at its kill_signal: within kill_timeout ({fly.kill_timeout_s:g} s) nothing happened,"
        f" so Fly sent {', '.join(signals[1:])} as well. Something holds the server's shutdown: an open request"
        " (uvicorn's --timeout-graceful-shutdown), a background task, a thread that is no daemon"
    )


@check(
    "I",
    "A Machine that was suspended works as before, although its connections died and its clock jumped",
    broken=Wrap(boot.broken_by_a_pause, {"seconds": 2.0}),
    because="after it was suspended",
    alone=True,
    deadline_s=150,
    rests_on=("test_writes_last",),
)
async def test_suspend(person: Person, machines: Machines) -> None:
    """Replace connections that died, and measure time by a monotonic clock."""
    kept = [await person.attempt()]
    machine = await machines.first()
    await machines.suspend(machine)
    await asyncio.sleep(FROZEN_S)
    await machines.start(machine)
    shown = await until(person.reads, lambda seen: not missing(kept, seen), PATIENCE_S)
    assert not missing(kept, shown), f"after it was suspended a Machine does not show {kept[0].text}, but: {shown}"
    later = await until(person.attempt, lambda write: write.acknowledged, PATIENCE_S)
    assert later.acknowledged, (
        f"after it was suspended a Machine acknowledges no write for {PATIENCE_S:g} s: {later.answer}"
    )
    assert not missing([later], await person.reads()), (
        f"{later.text}, written after the Machine was suspended, is not shown"
    )


@check(
    "I",
    "A Machine whose clock is an hour behind after it was suspended loses nothing, and works once the clock is right",
    broken=Proxy("failure_acknowledged"),
    because="lost while the clock was behind",
    needs=("in_bucket",),
    alone=True,
    deadline_s=150,
    rests_on=("test_durable",),
)
async def test_clock_behind(person: Person, machines: Machines, faults: Faults) -> None:
    """Answer 503 while R2 refuses signatures (RequestTimeTooSkewed); it is neither 'missing' nor final."""
    kept = [await person.attempt()]
    machine = await machines.first()
    await machines.suspend(machine)
    await machines.start(machine)
    kept.append(await until(person.attempt, lambda write: write.acknowledged, PATIENCE_S))  # with new connections
    # R2 refuses what was signed more than 15 minutes ago: seen from the Machine, R2's clock is ahead.
    async with faults.on("*", skew=HOUR_S, must_fire=asks_r2(person)):
        kept.append(await person.attempt())
        shown = await person.reads()
    assert isinstance(shown, str) or not missing(kept[:1], shown), (
        f"while the Machine's clock is an hour behind a read answers without the earlier write: {shown}. R2 refuses"
        " every signature then (403 RequestTimeTooSkewed), which does not mean that nothing is there"
    )
    later = await until(person.attempt, lambda write: write.acknowledged, PATIENCE_S)
    assert later.acknowledged, (
        f"{PATIENCE_S:g} s after the clock was set right no write is acknowledged: {later.answer}"
    )
    await asyncio.sleep(within_s(person))
    again = await answered(person.on(await machines.replace_all()))
    lost = missing([*kept, later], again)
    assert not lost, (
        f"{len(lost)} of {acknowledged([*kept, later])} acknowledged writes were lost while the clock was behind: R2"
        f" refused their upload (403 RequestTimeTooSkewed), and they were acknowledged all the same. Shown: {again}"
    )


@check(
    "A",
    "A request that wakes the app after it was scaled to zero is answered like any other",
    broken=Proxy("first_read_fails"),
    because="that wakes the app",
    alone=True,
    deadline_s=120,
    rests_on=("test_durable",),
)
async def test_cold_request(person: Person, machines: Machines, stack: Stack) -> None:
    """Open the port only when requests can be answered."""
    kept = [await person.attempt()]
    for machine in await machines.all():
        await machines.stop(machine["id"])
    if not stack.site.project.fly.service.auto_start_machines:
        not_declared("fly.toml has auto_start_machines = false: nothing wakes a stopped Machine")
    shown = await person.on(None).reads()
    assert not isinstance(shown, str), (
        f"the request that wakes the app fails: {shown}. It starts too slowly for the edge, or answers before it is"
        " ready"
    )
    assert not missing(kept, shown), f"the request that wakes the app does not show {kept[0].text}, but: {shown}"
