"""A Machine is stopped, as by autostop or a deploy, while writes are on their way to R2."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from parity.checks.broken import acknowledged_early
from parity.checks.kit.machines import Patience, first_machine
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Need, Unobservable, Wrap
from parity.checks.product.bursts import crowded_keys, judge_crowding
from parity.checks.product.caller import Caller, new_profile
from parity.checks.product.writes import Listed, Write, judge_answers, judge_shown, listed, new_name, write

STOPPED, AFTERWARDS = "the Machine that was stopped", "a Machine that started afterwards"
AT_ONCE = 12
# How long R2 takes for each upload meanwhile, in seconds: the stop falls among them.
UPLOAD_S = 0.4
# Until that many requests are in the Machine; then it is stopped.
INSIDE, INSIDE_S = 6, 10.0
POLL_S = 0.02


@dataclass(frozen=True)
class StopObservation:
    """``signals`` that the Machine needed; ``shown``: by one that started with an empty disk."""

    writes: Sequence[Write]
    signals: Sequence[str]
    crowded: Mapping[str, int]
    shown: Listed


async def observe(tools: Tools) -> StopObservation:
    caller = await new_profile(tools)
    await caller.call("POST", "/api/projects", {"name": "before"})
    machine = await first_machine(tools.admin)
    earlier = {event["time"] for event in await _events(tools, machine)}
    async with _slow_uploads(tools, caller) as slow:
        writes = [
            asyncio.create_task(write(caller.on(machine), STOPPED, new_name("during the stop"))) for _ in range(AT_ONCE)
        ]
        try:
            await _until_inside(tools, machine, writes)
            await tools.admin.call("POST", f"/fly/machines/{machine}/stop", timeout_s=90)
            answers = await asyncio.gather(*writes)
        finally:
            for task in writes:
                task.cancel()
    since = [event for event in await _events(tools, machine) if event["time"] not in earlier]
    signals = [event["signal"] for event in since if event["type"] == "signal"]
    shown = await listed(caller, AFTERWARDS)
    seen = StopObservation(answers, signals, await crowded_keys(tools), shown)
    return certain(seen, slow["fired"])


def certain(seen: StopObservation, slow: int) -> StopObservation:
    """``slow``: how many uploads took their time. Raises ``Unobservable`` where all is well and none did."""
    if not slow and not judge(seen):
        raise Unobservable("no upload was on its way when the Machine was stopped: none came to R2")
    return seen


async def _events(tools: Tools, machine: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await tools.admin.call("GET", f"/fly/machines/{machine}"))["events"]
    return found


@asynccontextmanager
async def _slow_uploads(tools: Tools, caller: Caller) -> AsyncIterator[dict[str, Any]]:
    """Afterwards ``fired`` says how many uploads were slow."""
    key = f"*/profiles/{caller.profile}/database/*"
    body = {"key": key, "operation": "PutObject", "delay": UPLOAD_S, "rate": 1}
    fault: dict[str, Any] = await tools.admin.call("POST", "/r2/faults", body)
    try:
        yield fault
    finally:
        removed = await tools.admin.call("DELETE", f"/r2/faults?id={fault['id']}")
        fault["fired"] = removed["faults"][0]["fired"]


async def _until_inside(tools: Tools, machine: str, writes: Sequence[asyncio.Task[Write]]) -> None:
    """Until requests are in the Machine, or answered already, as by one that does not wait for R2."""
    patience = Patience(INSIDE_S)
    while True:
        inside = (await tools.admin.call("GET", f"/fly/machines/{machine}"))["requests"]
        if inside + sum(task.done() for task in writes) >= INSIDE:
            return
        if patience.over:
            raise Unobservable(f"after {INSIDE_S:g} s only {inside} of {AT_ONCE} writes were in the Machine")
        await asyncio.sleep(POLL_S)


def judge(seen: StopObservation) -> list[str]:
    # Who comes too late is told to come again; whoever was inside is answered as ever.
    told = {(503, "failed"), (503, "conflict")}
    reasons = judge_answers(
        seen.writes,
        lambda one: one.accepted or ((one.status, one.sync_status) in told and bool(one.retry_after)),
        "201, or 503 with Retry-After",
    )
    if not any(one.accepted for one in seen.writes):
        reasons.append("no write that was inside the Machine when it was stopped was finished")
    if len(seen.signals) != 1:
        reasons.append(f"the Machine did not end at its kill_signal: it took {', '.join(seen.signals) or 'none'}")
    reasons += judge_crowding(seen.crowded)
    return reasons + judge_shown([one.name for one in seen.writes if one.accepted], [seen.shown])


STOP: Check[StopObservation] = Check(
    id="stop-during-writes",
    title="A Machine that is stopped amid writes ends at its signal, and what it acknowledged is in the bucket",
    capability="I",
    observe=observe,
    judge=judge,
    broken=Broken("writes are acknowledged before they are uploaded", Wrap(acknowledged_early)),
    needs=frozenset({Need.ADMIN}),
    deadline_s=150.0,
)
