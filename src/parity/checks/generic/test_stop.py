"""Machines are stopped, killed, suspended and started again, as Fly does every day."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

from parity.checks import Proxy, Wrap, check, not_judged
from parity.checks.faults import Faults
from parity.checks.generic.own_time import opened_in_its_own_time
from parity.checks.generic.support import (
    PATIENCE_S,
    acknowledged,
    answered,
    asks_r2,
    not_declared,
    replicated,
    until,
    within_s,
)
from parity.checks.machines import Machines
from parity.checks.person import Attempt, Person, missing
from parity.checks.stack import Stack
from parity.wraps import boot

MANY = 8
# Seconds for which a check suspends a Machine; longer than its peers keep a connection that does not respond.
FROZEN_S = 3.0
# Seconds that an app with background uploads may wait after failed uploads before it retries.
CATCH_UP_S = 10.0
HOUR_S = 3600


async def inside(machines: Machines, machine: str, under_way: list[asyncio.Task[Attempt]]) -> None:
    """Wait until at least half of the requests have reached the Machine or been answered."""
    await until(
        lambda: machines.get(machine),
        lambda seen: seen["requests"] + sum(task.done() for task in under_way) >= len(under_way) // 2,
        PATIENCE_S,
    )


@check(
    "I",
    "A stop loses no acknowledged write, and requests in progress are answered before the Machine ends",
    broken=Proxy("answered_early", seconds=60.0),
    because="acknowledged writes are lost over a stop",
    apart=True,
    deadline_s=200,
    rests_on=("test_durable",),
)
async def test_stop_amid_writes(person: Person, machines: Machines, faults: Faults) -> None:
    """Finish the requests in progress before the process ends."""
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
        f"{len(lost)} of {acknowledged(kept)} acknowledged writes are lost over a stop. Upload before the answer, or"
        " finish all uploads before the process ends"
    )
    broken = [write.answer for write in kept if re.search(r"answered (0|nothing|5\d\d)", write.answer)]
    broken = [answer for answer in broken if "503" not in answer]
    assert not broken, (
        f"the stop broke off {len(broken)} of {MANY} requests in progress: {broken[0]}. Fly waits kill_timeout seconds"
        " after its signal: finish the requests in this time"
    )


@check(
    "I",
    "When a Machine is killed, no acknowledged write is lost",
    broken=Proxy("answered_early", seconds=60.0),
    because="acknowledged writes are lost with a killed Machine",
    alone=True,
    deadline_s=150,
    rests_on=("test_durable",),
)
async def test_kill_amid_writes(person: Person, machines: Machines, faults: Faults) -> None:
    """Acknowledge a write only when R2 has stored it: a killed process cannot finish an upload."""
    await person.write()
    machine = await machines.first()
    early = [await person.attempt() for _ in range(2)]
    async with faults.on(f"*{person.owns}*", "PutObject", delay=0.4, must_fire=False):
        under_way = [asyncio.create_task(person.attempt()) for _ in range(MANY)]
        await inside(machines, machine, under_way)
        await replicated(person, machines.stack)
        await machines.kill(machine)
        late = await asyncio.gather(*under_way)
    kept = early if within_s(person) else [*early, *late]
    shown = await answered(person.on(await machines.replace_all()))
    lost = missing(kept, shown)
    assert not lost, (
        f"{len(lost)} of {acknowledged(kept)} acknowledged writes are lost with a killed Machine, as when its host"
        " fails or its memory runs out. Acknowledge a write only when R2 has stored it"
    )
    later = await until(person.on(None).attempt, lambda write: write.acknowledged, PATIENCE_S)
    assert later.acknowledged, (
        f"{PATIENCE_S:g} s after a Machine was killed no write is acknowledged: {later.answer}. The new Machine must"
        " not wait for the killed one, for example for a lock or lease that it held"
    )


@check(
    "C",
    "When R2 refuses an upload, the write is not acknowledged, or the Machine uploads it before it stops",
    broken=Proxy("failure_acknowledged"),
    because="was acknowledged while R2 refused it",
    needs=("in_bucket",),
    apart=True,
    deadline_s=120,
    rests_on=("test_durable",),
)
async def test_stop_after_failed_upload(person: Person, machines: Machines, faults: Faults) -> None:
    """Refuse the write, or retry its upload until R2 has stored it, at the stop too."""
    early = await person.attempt()
    async with faults.on(f"*{person.owns}*", "PutObject", status=503):
        write = await person.attempt()
        await asyncio.sleep(within_s(person))
    await machines.stop(await machines.first())
    shown = await answered(person.on(await machines.replace_all()))
    assert not missing([write], shown), (
        f"{write.text} was acknowledged while R2 refused it, and is lost after a stop, although R2 accepted uploads"
        " again before the stop. Refuse the write, or retry its upload at the stop"
    )
    assert not missing([early], shown), (
        f"{early.text}, which was acknowledged before R2 refused an upload, is lost after the stop: a failed upload"
        " must not undo an earlier one"
    )


@check(
    "C",
    "After an outage of R2, acknowledged writes reach the bucket without waiting for an orderly stop",
    broken=Proxy("answered_early", seconds=600.0),
    because="after R2 had failed",
    needs=("in_bucket",),
    alone=True,
    deadline_s=150,
    rests_on=("test_durable",),
)
async def test_catches_up_after_an_outage(person: Person, machines: Machines, faults: Faults) -> None:
    """Retry a failed upload until it succeeds; it must not end the thread or process that uploads."""
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
        f"{len(lost)} of {acknowledged(kept)} acknowledged writes did not reach the bucket after R2 had failed for a"
        f" moment; the Machine was killed {late_s and late_s + CATCH_UP_S:g} s later, and they are lost. Retry a failed"
        " upload until it succeeds"
    )
    if not outage.fired:
        not_judged("no request reached R2 during its outage, so nothing was tested")


@check(
    "I",
    "A Machine ends within kill_timeout after its kill_signal, even while a client sends a body slowly",
    broken=Wrap(boot.slow_shutdown, {"seconds": 400.0}),
    because="the Machine did not end at its kill_signal within",
    apart=True,
    deadline_s=400,
)
async def test_ends_at_its_signal(person: Person, machines: Machines, stack: Stack) -> None:
    """Set uvicorn's --timeout-graceful-shutdown below kill_timeout, and cancel background tasks at shutdown."""
    await person.write()
    last = next(one for one in reversed(stack.said) if not one["asked"].startswith(("GET ", "OPTIONS ")))
    method, _, url = last["asked"].partition(" ")
    machine = await machines.first()
    go_on = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await go_on.wait()

    headers = {
        **person.on(machine).api.headers_for("POST"),
        "Content-Type": "application/json",
        "Content-Length": "4096",
    }
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
        f"the Machine did not end at its kill_signal within kill_timeout ({fly.kill_timeout_s:g} s), so Fly also sent"
        f" {', '.join(signals[1:])} and broke off its work. The server's shutdown waits for an open request (set"
        " uvicorn's --timeout-graceful-shutdown), a background task or a thread that is not a daemon"
    )


@check(
    "I",
    "After a suspend and resume, a Machine serves as before, although its connections are dead",
    broken=Wrap(boot.broken_by_a_pause, {"seconds": 2.0}),
    because="after it was suspended",
    apart=True,
    deadline_s=150,
    rests_on=("test_writes_last",),
)
async def test_suspend(person: Person, machines: Machines) -> None:
    """Replace dead connections, and measure durations with a monotonic clock."""
    kept = [await person.attempt()]
    machine = await machines.first()
    await machines.suspend(machine)
    await asyncio.sleep(FROZEN_S)
    await machines.start(machine)
    shown = await until(person.reads, lambda seen: not missing(kept, seen), PATIENCE_S)
    assert not missing(kept, shown), (
        f"after it was suspended a Machine does not show {kept[0].text}; shown: {shown}. Replace dead connections"
    )
    later = await until(person.attempt, lambda write: write.acknowledged, PATIENCE_S)
    assert later.acknowledged, (
        f"after it was suspended a Machine acknowledges no write for {PATIENCE_S:g} s: {later.answer}. Replace dead"
        " connections"
    )
    assert not missing([later], await person.reads()), (
        f"{later.text}, which was written and acknowledged after it was suspended, is not shown by the Machine"
    )


@check(
    "I",
    "A resumed Machine whose clock is an hour behind loses no write, and works once the clock is right",
    broken=Proxy("failure_acknowledged"),
    because="lost while the clock was behind",
    needs=("in_bucket",),
    apart=True,
    deadline_s=150,
    rests_on=("test_durable",),
)
async def test_clock_behind(person: Person, machines: Machines, faults: Faults) -> None:
    """Answer 503 while R2 refuses signatures (RequestTimeTooSkewed): nothing is missing, and the error is temporary."""
    kept = [await person.attempt()]
    machine = await machines.first()
    await machines.suspend(machine)
    await machines.start(machine)
    kept.append(await until(person.attempt, lambda write: write.acknowledged, PATIENCE_S))  # with new connections
    # R2 refuses a signature that is more than 15 minutes old: to the Machine, R2's clock seems to be ahead.
    async with faults.on(faults.reach(person.owns), skew=HOUR_S, must_fire=asks_r2(person)):
        kept.append(await person.attempt())
        shown = await person.reads()
    assert isinstance(shown, str) or not missing(kept[:1], shown), (
        f"while the Machine's clock is an hour behind, a read is answered without the earlier write; shown: {shown}. R2"
        " refuses every signature then (403 RequestTimeTooSkewed), which does not mean that nothing is there: answer"
        " 503"
    )
    later = await until(person.attempt, lambda write: write.acknowledged, PATIENCE_S)
    assert later.acknowledged, (
        f"{PATIENCE_S:g} s after the clock was corrected no write is acknowledged: {later.answer}. Sign every retry"
        " anew, and keep no error past the request that met it"
    )
    await replicated(person, machines.stack)
    again = await answered(person.on(await machines.replace_all()))
    lost = missing([*kept, later], again)
    assert not lost, (
        f"{len(lost)} of {acknowledged([*kept, later])} acknowledged writes were lost while the clock was behind;"
        f" shown: {again}. R2 refused their upload (403 RequestTimeTooSkewed), and yet they were acknowledged: answer"
        " 503"
    )


@check(
    "A",
    "When the app is scaled to zero, the request that wakes it succeeds and shows earlier writes",
    broken=Proxy("first_read_fails"),
    because="the request that wakes the app fails",
    alone=True,
    deadline_s=120,
    rests_on=("test_durable",),
)
async def test_cold_request(person: Person, machines: Machines, stack: Stack) -> None:
    """Open the port only when the app can answer requests."""
    kept = [await person.attempt()]
    for machine in await machines.all():
        await machines.stop(machine["id"])
    if not stack.site.project.fly.service.auto_start_machines:
        not_declared("fly.toml has auto_start_machines = false, so no request wakes a stopped Machine")
    shown = await person.on(None).reads()
    if isinstance(shown, str):
        late = [await opened_in_its_own_time(machines, one["id"]) for one in await machines.all()]
        # A busy host gave the Machine no CPU, so that the edge gave up on it too early.
        shown = await person.on(None).reads() if any(late) else shown
    assert not isinstance(shown, str), (
        f"the request that wakes the app fails: {shown}. The app starts more slowly than the edge waits, or opens its"
        " port before it can answer: open the port early enough, and only when the app is ready"
    )
    assert not missing(kept, shown), (
        f"the request that wakes the app does not show {kept[0].text}; shown: {shown}. A started Machine has an empty"
        " disk: load the data from R2 before the first answer"
    )
