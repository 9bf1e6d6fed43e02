"""R2 is down, slow, crowded, or its answers get lost, while a Machine runs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from parity.checks import Proxy, Wrap, check, not_judged
from parity.checks.faults import Faults
from parity.checks.generic.support import (
    PATIENCE_S,
    acknowledged,
    answered,
    asked_since,
    asks_r2,
    empty_machine,
    not_declared,
    patterns,
    probed,
    r2_behaviour,
    readable,
    until,
    within_s,
)
from parity.checks.machines import Machines
from parity.checks.person import Attempt, People, Person, missing
from parity.checks.stack import Stack
from parity.wraps import boot

# What a page fires at once.
BURST = 30
# What a request of a write meets, once.
FAILURES: dict[str, dict[str, Any]] = {
    "503": {"status": 503},
    "429": {"status": 429},
    "its answer lost": {"drop": "after"},
    "a reset connection": {"drop": "before"},
}


@check(
    "C",
    "While R2 is down no write to it is acknowledged, and writes work again afterwards",
    broken=Proxy("failure_acknowledged"),
    because="is acknowledged while R2 is down",
    alone=True,
    deadline_s=150,
    rests_on=("test_writes_last",),
    fast=True,
    needs=("in_bucket",),
)
async def test_down(person: Person, faults: Faults, stack: Stack) -> None:
    """Answer 503 until R2 has the write; let the page try again."""
    early = await person.write()
    async with faults.on("*", status=503, must_fire=asks_r2(person)):
        write = await person.attempt()
        last = stack.said[-1]
        read = await person.reads()
    if within_s(person) == 0:
        assert not write.acknowledged, (
            f"a write is acknowledged while R2 is down: {last['asked']} answered {last['answer']}. If the Machine ends"
            " now, it is lost; answer 503 until R2 has it"
        )
    assert write.acknowledged or readable(last.get("answer_headers", {}), stack.site.origin), (
        f"while R2 is down {last['asked']} answers {last['answer']} without Access-Control-Allow-Origin: the page sees"
        ' "Failed to fetch" and cannot tell what happened'
    )
    assert isinstance(read, str) or early in read, f"while R2 is down a read answers without the earlier write: {read}"

    async def again() -> bool:
        return (await person.attempt()).acknowledged

    assert await until(again, bool, PATIENCE_S), f"{PATIENCE_S:g} s after the outage no write is acknowledged yet"
    late, shown = await person.write(), await person.reads()
    assert {early, late} <= set(shown), f"after the outage not both of {early}, {late} are shown, but: {shown}"


@check(
    "R",
    "While R2 is down, writes that are kept elsewhere work",
    unproven="only an app that asks R2 at a write which it keeps elsewhere could fail, and no proxy can make it do so",
    needs=("elsewhere",),
    rests_on=("test_writes_last",),
    alone=True,
)
async def test_down_and_kept_elsewhere(person: Person, faults: Faults) -> None:
    """Do not ask R2 for what is kept elsewhere."""
    async with faults.on("*", status=503, must_fire=False):
        write = await person.attempt()
        shown = await person.reads()
    assert write.acknowledged, f"the data is kept elsewhere, and yet no write works while R2 is down: {write.answer}"
    assert not missing([write], shown), f"the data is kept elsewhere, and yet while R2 is down this is shown: {shown}"


@check(
    "O",
    "The health check stays green while R2 is down: Fly would take every Machine away at once",
    broken=Wrap(boot.unhealthy_after_failure, {"seconds": 60.0}),
    because="while R2 is down the health check",
    alone=True,
    deadline_s=90,
    fast=True,
)
async def test_health_in_outage(person: Person, machines: Machines, faults: Faults, stack: Stack) -> None:
    """Let the health check say whether this process serves, and report R2 elsewhere."""
    probe = await probed(stack, await machines.first())
    if not probe.startswith("2"):
        not_judged(f"the health check answers {probe} without any fault")
    async with faults.on("*", status=503, must_fire=asks_r2(person)):
        await person.attempt()
        await person.reads()
        probe = await probed(stack, await machines.first())
    assert probe.startswith("2"), (
        f"while R2 is down the health check answers {probe}. Fly stops routing to a Machine that fails it, so every"
        " request then gets 503 from the edge; report the dependency elsewhere"
    )


@check(
    "U",
    "The health check is answered in time while a request waits for a slow R2",
    broken=Wrap(boot.blocking, {"seconds": 8.0}),
    because="is not answered",
    alone=True,
    deadline_s=150,
    rests_on=("test_writes_last",),
)
async def test_loop_is_free(person: Person, machines: Machines, faults: Faults, stack: Stack) -> None:
    """Run synchronous calls in threads (asyncio.to_thread), boto3 among them."""
    checks = stack.site.project.fly.service.checks
    timeout_s = min([check_.timeout_s for check_ in checks], default=5.0)
    machine = await machines.first()
    async with faults.on("*", delay=timeout_s / 2, must_fire=asks_r2(person)):
        # Reads too: a handler that blocks is one of either, and several at once block one after the other.
        requests = (person.attempt, person.reads)
        busy: list[asyncio.Task[object]] = [asyncio.create_task(ask()) for _ in range(4) for ask in requests]
        await until(
            lambda: machines.get(machine), lambda m: m["requests"] > 0 or all(b.done() for b in busy), PATIENCE_S
        )
        answers: list[str] = []
        while not all(task.done() for task in busy) and len(answers) < 20:
            try:
                answers.append(await asyncio.wait_for(probed(stack, machine), timeout_s))
            except TimeoutError:
                answers.append("nothing")
            await asyncio.sleep(0.1)
        await asyncio.gather(*busy)
    late = [answer for answer in answers if not answer.startswith("2")]
    assert not late, (
        f"while R2 takes {timeout_s / 2:g} s for each request, the health check is not answered within its timeout of"
        f" {timeout_s:g} s ({len(late)} of {len(answers)} probes: {late[0]}): something synchronous blocks the event"
        " loop"
    )


@check(
    "C",
    "With a slow R2 everything still works, only later",
    broken=Proxy("one_at_a_time", seconds=12.0),
    because="are refused|are not shown",
    alone=True,
    deadline_s=200,
    rests_on=("test_writes_last",),
)
async def test_slow(person: Person, faults: Faults) -> None:
    """Hold no lock while R2 is asked, and give uploads more time than a slow day takes."""
    async with faults.on("*", delay=1.5, must_fire=asks_r2(person)):
        kept = await asyncio.gather(*(person.attempt() for _ in range(5)))
        shown = await person.reads()
    refused = [write.answer for write in kept if not write.acknowledged]
    assert not refused, (
        f"{len(refused)} of 5 writes are refused where each request to R2 takes 1.5 s: {refused[0]}. Is a lock held"
        " while an upload runs, or a timeout shorter than a slow day of R2's?"
    )
    assert not missing(kept, shown), f"{len(missing(kept, shown))} of 5 acknowledged writes are not shown, but: {shown}"


@check(
    "C",
    "When a request to R2 fails during a write, nothing acknowledged is lost, and later writes work",
    broken=Proxy("failure_acknowledged"),
    because="acknowledged, and not shown",
    needs=("in_bucket",),
    deadline_s=200,
    alone=True,
    rests_on=("test_writes_last",),
)
async def test_each_fault_of_a_write(people: People, machines: Machines, faults: Faults, stack: Stack) -> None:
    """Acknowledge what is stored, roll back what is not, and keep working after either."""
    one, other = await people(), await people()
    seen = []
    for person in (one, other):
        await person.write()
        since = time.time()
        await person.write()
        seen.append(await asked_since(stack, since))
    found = patterns(seen[0], seen[1], (one.owns, other.owns))
    if not found:
        not_declared("a write asks R2 for nothing before its answer")
    tries = [(operation, key, failure) for operation, key in found for failure in FAILURES]
    tried: list[Tried] = []
    if one.owns != other.owns:  # faults below a person's own prefix meet no other person
        tried += await asyncio.gather(*(one_write(people, faults, *one_try) for one_try in tries))
    else:
        tried += [await one_write(people, faults, *one_try) for one_try in tries]
    wrong = [reason for one_try in tried for reason in one_try.wrong]
    if within_s(one) == 0:
        async with empty_machine(one, machines) as cold:
            for each in tried:
                lost = missing(each.kept, await answered(each.person.on(cold)))
                if lost and not each.wrong:
                    wrong.append(
                        f"{each.what}: {len(lost)} of {acknowledged(each.kept)} acknowledged, and not shown anew"
                    )
    assert not wrong, f"{len(wrong)} of {len(tries)} failures do harm:\n" + "\n".join(wrong)
    if not any(each.fired for each in tried):
        not_judged("none of the faults met a request")


@dataclass
class Tried:
    """What came of the writes of one person, one of which met a failure."""

    person: Person
    what: str
    kept: list[Attempt]
    fired: int
    wrong: list[str]


async def one_write(people: People, faults: Faults, operation: str, key: str, failure: str) -> Tried:
    """Three writes of a new person, the second of which meets the failure."""
    person, options = await people(), FAILURES[failure]
    what = f"a write whose {operation} {key.replace('{owns}', '…/')} met {failure}"
    kept = [await person.attempt()]
    # A client's retries hide a single error: what the app itself does shows when all of them fail.
    times = None if "status" in options else 1
    async with faults.on(
        key.replace("{owns}", person.owns), operation, times=times, must_fire=False, **options
    ) as fault:
        kept.append(await person.attempt())
    later = await until(person.attempt, lambda write: write.acknowledged, PATIENCE_S)
    kept.append(later)
    wrong = []
    if not later.acknowledged:
        wrong.append(f"{what}: {PATIENCE_S:g} s later no write is acknowledged: {later.answer}")
    if lost := missing(kept, await answered(person)):
        wrong.append(f"{what}: {len(lost)} of {acknowledged(kept)} acknowledged, and not shown by the same Machine")
    return Tried(person, what, kept, fault.fired, wrong)


@check(
    "H",
    "A burst of writes under R2's documented limits: all are kept, none waits for long, no key has two writers",
    broken=Proxy("one_at_a_time", seconds=2.0),
    because="wait too long|refused",
    alone=True,
    deadline_s=150,
    rests_on=("test_writes_last",),
    fast=True,
    needs=("in_bucket",),
)
async def test_burst(person: Person, stack: Stack) -> None:
    """Group the writes of a moment into one upload, or give each a key of its own."""
    since = time.time()
    async with r2_behaviour(stack, write_window="strict", latency="realistic"):
        kept = await asyncio.gather(*(person.attempt() for _ in range(BURST)))
        crowded = await keys_with_429(stack, person.owns, since)
    unanswered = [write for write in kept if "answered nothing" in write.answer]
    assert not unanswered, (
        f"{len(unanswered)} of {BURST} writes at once wait too long: {unanswered[0].answer}. Is a lock held while R2 is"
        " asked?"
    )
    refused = [write.answer for write in kept if not write.acknowledged]
    assert not refused, f"{len(refused)} of {BURST} writes at once are refused: {refused[0]}"
    # A refusal that an app tried again after a pause did no harm.
    assert sum(crowded.values()) <= BURST // 4, (
        f"R2 answered 429 {sum(crowded.values())} times to {BURST} writes, as for {next(iter(crowded))}: it takes one"
        " write a second to a key. Write to keys of their own, or group the writes of a moment into one upload"
    )
    lost = missing(kept, await person.reads())
    assert not lost, (
        f"{len(lost)} of {BURST} acknowledged writes of a burst are not shown: one upload took the place of another"
    )


async def keys_with_429(stack: Stack, prefix: str, since: float) -> dict[str, int]:
    found = (await stack.admin("GET", f"/r2/requests?limit=20000&status=429&prefix={prefix}"))["requests"]
    keys = [entry["key"] for entry in found if float(entry["time"]) >= since]
    return {key: keys.count(key) for key in dict.fromkeys(keys)}
