"""R2 fails while a Machine runs: it is down, slow, over its rate limits, or its answers get lost."""

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
    how_many,
    not_declared,
    patterns,
    probed,
    probes_beside,
    r2_behaviour,
    readable,
    until,
    within_s,
)
from parity.checks.machines import Machines
from parity.checks.person import Attempt, People, Person, missing
from parity.checks.stack import Stack
from parity.wraps import boot

# How many requests a page may send at once.
BURST = 30
# The ways in which one request of a write to R2 fails.
FAILURES: dict[str, dict[str, Any]] = {
    "503": {"status": 503},
    "429": {"status": 429},
    "its answer lost": {"drop": "after"},
    "a reset connection": {"drop": "before"},
}


@check(
    "C",
    "While R2 is down no write is acknowledged, and writes work again afterwards",
    broken=Proxy("failure_acknowledged"),
    because="is acknowledged while R2 is down",
    alone=True,
    deadline_s=150,
    rests_on=("test_writes_last",),
    fast=True,
    needs=("in_bucket",),
)
async def test_down(person: Person, faults: Faults, stack: Stack) -> None:
    """Answer 503 while R2 cannot store the write, and let the page retry."""
    early = await person.write()
    async with faults.on("*", status=503, must_fire=asks_r2(person)):
        write = await person.attempt()
        last = stack.said[-1]
        read = await person.reads()
    if within_s(person) == 0:
        assert not write.acknowledged, (
            f"a write is acknowledged while R2 is down: {last['asked']} answered {last['answer']}. If the Machine ends"
            " now, the write is lost: answer 503 until R2 has stored it"
        )
    assert write.acknowledged or readable(last.get("answer_headers", {}), stack.site.origin), (
        f"while R2 is down {last['asked']} answers {last['answer']} without Access-Control-Allow-Origin. The page sees"
        ' only "Failed to fetch" and cannot tell the person to try again: make CORS the outermost middleware'
    )
    assert isinstance(read, str) or early in read, (
        f"while R2 is down a read is answered without the earlier write; shown: {read}. The app took an error of R2 for"
        " missing data: answer 503"
    )

    async def again() -> bool:
        return (await person.attempt()).acknowledged

    assert await until(again, bool, PATIENCE_S), (
        f"{PATIENCE_S:g} s after the outage of R2 no write is acknowledged yet: the app keeps the failure. Retry, and"
        " keep no error past the request that met it"
    )
    late, shown = await person.write(), await person.reads()
    assert {early, late} <= set(shown), (
        f"after the outage of R2 the app does not show both {early} (written before) and {late} (after); shown: {shown}"
    )


@check(
    "R",
    "While R2 is down, writes that are stored outside R2 work",
    unproven="to fail, an app that stores data outside R2 must call R2 during a write; no variant can make it do so",
    needs=("elsewhere",),
    rests_on=("test_writes_last",),
    alone=True,
)
async def test_down_and_kept_elsewhere(person: Person, faults: Faults) -> None:
    """Send R2 no request during a write whose data is stored elsewhere."""
    async with faults.on("*", status=503, must_fire=False):
        write = await person.attempt()
        shown = await person.reads()
    assert write.acknowledged, (
        f"no write works while R2 is down, although the contract says that the data is stored elsewhere:"
        f" {write.answer}. Send R2 no request during such a write"
    )
    assert not missing([write], shown), (
        f"while R2 is down {write.text} is not shown, although the contract says that the data is stored elsewhere;"
        f" shown: {shown}. Send R2 no request during such a read"
    )


@check(
    "O",
    "While R2 is down the health check still passes, so that Fly keeps routing to the Machines",
    broken=Wrap(boot.unhealthy_after_failure, {"seconds": 60.0}),
    because="while R2 is down the health check",
    alone=True,
    deadline_s=90,
    fast=True,
)
async def test_health_in_outage(person: Person, machines: Machines, faults: Faults, stack: Stack) -> None:
    """Let the health check say only whether this process serves requests; report R2 on another route."""
    probe = await probed(stack, await machines.first())
    if not probe.startswith("2"):
        not_judged(f"the health check answers {probe} even without a fault: see test_health_check_passes")
    async with faults.on("*", status=503, must_fire=asks_r2(person)):
        await person.attempt()
        await person.reads()
        probe = await probed(stack, await machines.first())
    assert probe.startswith("2"), (
        f"while R2 is down the health check answers {probe}. Fly stops routing to a Machine that fails its health"
        " check, so the edge would answer 503 to every request. Report the state of R2 on another route"
    )


@check(
    "U",
    "While requests wait for a slow R2, the health check is answered within its timeout",
    broken=Wrap(boot.blocking, {"seconds": 8.0}),
    because="is not answered within its timeout",
    apart=True,
    deadline_s=150,
    rests_on=("test_writes_last",),
)
async def test_loop_is_free(person: Person, machines: Machines, faults: Faults, stack: Stack) -> None:
    """Run synchronous calls, such as boto3's, in threads (asyncio.to_thread)."""
    timeout_s = stack.site.probe_timeout_s
    machine = await machines.first()
    async with faults.on(faults.reach(person.owns), delay=timeout_s / 2, must_fire=asks_r2(person)):
        # Writes and reads, because either handler may block; several at once, because their waits then add up.
        requests = (person.attempt, person.reads)
        busy: list[asyncio.Task[object]] = [asyncio.create_task(ask()) for _ in range(4) for ask in requests]
        await until(
            lambda: machines.get(machine), lambda m: m["requests"] > 0 or all(b.done() for b in busy), PATIENCE_S
        )
        answers = await probes_beside(busy, stack, machine)
        await asyncio.gather(*busy)
    late = [answer for answer in answers if not answer.startswith("2")]
    assert not late, (
        f"while R2 takes {timeout_s / 2:g} s for each request, the health check is not answered within its timeout of"
        f" {timeout_s:g} s ({len(late)} of {len(answers)} probes: {late[0]}). A synchronous call blocks the event loop:"
        " run it in a thread (asyncio.to_thread)"
    )


@check(
    "C",
    "With a slow R2, writes and reads still work, only later",
    broken=Proxy("one_at_a_time", seconds=12.0),
    because="of 5 writes are refused when|are not shown while R2 is slow",
    apart=True,
    deadline_s=200,
    rests_on=("test_writes_last",),
)
async def test_slow(person: Person, faults: Faults) -> None:
    """Hold no lock during a request to R2, and give uploads a timeout that a slow R2 does not exceed."""
    async with faults.on(faults.reach(person.owns), delay=1.5, must_fire=asks_r2(person)):
        kept = await asyncio.gather(*(person.attempt() for _ in range(5)))
        shown = await person.reads()
    refused = [write.answer for write in kept if not write.acknowledged]
    assert not refused, (
        f"{len(refused)} of 5 writes are refused when each request to R2 takes 1.5 s: {refused[0]}. Hold no lock"
        " during an upload, and use a longer timeout"
    )
    lost = missing(kept, shown)
    assert not lost, f"{len(lost)} of {len(kept)} acknowledged writes are not shown while R2 is slow; shown: {shown}"


@check(
    "C",
    "When a request to R2 fails during a write, no acknowledged write is lost and later writes work",
    broken=Proxy("failure_acknowledged"),
    because="acknowledged, and not shown",
    needs=("in_bucket",),
    deadline_s=200,
    apart=True,
    rests_on=("test_durable",),
)
async def test_each_fault_of_a_write(people: People, machines: Machines, faults: Faults, stack: Stack) -> None:
    """Acknowledge a write only when it is stored, roll it back otherwise, and keep serving after both."""
    one, other = await people(), await people()
    seen = []
    for person in (one, other):
        await person.write()
        since = time.time()
        await person.write()
        seen.append(await asked_since(stack, since, person.owns))
    found = patterns(seen[0], seen[1], (one.owns, other.owns))
    if not found:
        not_declared("the app sends R2 no request before it answers a write")
    tries = [(operation, key, failure) for operation, key in found for failure in FAILURES]
    tried: list[Tried] = []
    if one.owns != other.owns:  # a fault below a person's own prefix hits no other person
        tried += await asyncio.gather(*(one_write(people, faults, *one_try) for one_try in tries))
    else:
        tried += [await one_write(people, faults, *one_try) for one_try in tries]
    if within_s(one) == 0:
        async with empty_machine(one, machines) as cold:
            for each in tried:
                lost = missing(each.kept, await answered(each.person.on(cold)))
                if lost and not each.wrong:
                    each.wrong.append(
                        f"{each.what}: {len(lost)} of {acknowledged(each.kept)} acknowledged, and not shown by a"
                        " Machine with an empty disk"
                    )
    wrong = [reason for each in tried for reason in each.wrong]
    assert not wrong, (
        f"{how_many([each.wrong for each in tried])} failures of R2 during a write do harm. Acknowledge it only when R2"
        " has stored it, and keep serving after a failure:\n" + "\n".join(wrong)
    )
    if not any(each.fired for each in tried):
        not_judged("no request to R2 was hit by a fault, so nothing was tested")


@dataclass
class Tried:
    """The writes of one person, one of which met a failure, and the harm it did."""

    person: Person
    what: str
    kept: list[Attempt]
    fired: int
    wrong: list[str]


async def one_write(people: People, faults: Faults, operation: str, key: str, failure: str) -> Tried:
    """A new person writes three times; a request to R2 of the second write fails."""
    person, options = await people(), FAILURES[failure]
    what = f"a write whose {operation} {key.replace('{owns}', '…/')} met {failure}"
    kept = [await person.attempt()]
    # The S3 client retries after an error status. Every retry fails too, so that the app must handle the failure.
    times = None if "status" in options else 1
    async with faults.on(
        key.replace("{owns}", person.owns), operation, times=times, must_fire=False, **options
    ) as fault:
        kept.append(await person.attempt())
    later = await until(person.attempt, lambda write: write.acknowledged, PATIENCE_S)
    kept.append(later)
    wrong = []
    if not later.acknowledged:
        wrong.append(f"{what}: {PATIENCE_S:g} s later still no write is acknowledged: {later.answer}")
    if lost := missing(kept, await answered(person)):
        wrong.append(f"{what}: {len(lost)} of {acknowledged(kept)} acknowledged, and not shown by the same Machine")
    return Tried(person, what, kept, fault.fired, wrong)


@check(
    "H",
    "A burst of writes under R2's limits loses no write, keeps none waiting and does not overload one key",
    broken=Proxy("one_at_a_time", seconds=2.0),
    because="writes at once (wait too long|are refused)",
    alone=True,
    deadline_s=150,
    rests_on=("test_writes_last",),
    fast=True,
    needs=("in_bucket",),
)
async def test_burst(person: Person, stack: Stack) -> None:
    """Group concurrent writes into one upload, or upload each write under its own key."""
    since = time.time()
    async with r2_behaviour(stack, write_window="strict", latency="realistic"):
        kept = await asyncio.gather(*(person.attempt() for _ in range(BURST)))
        crowded = await keys_with_429(stack, person.owns, since)
    unanswered = [write for write in kept if "answered nothing" in write.answer]
    assert not unanswered, (
        f"{len(unanswered)} of {BURST} writes at once wait too long: {unanswered[0].answer}. Hold no lock during a"
        " request to R2, and group concurrent writes into one upload"
    )
    refused = [write.answer for write in kept if not write.acknowledged]
    assert not refused, (
        f"{len(refused)} of {BURST} writes at once are refused: {refused[0]}. One page may send so many: group"
        " concurrent writes into one upload, and retry an upload that R2 answers with 429"
    )
    # A few 429 are allowed, because a retry after a pause succeeds.
    assert sum(crowded.values()) <= BURST // 4, (
        f"R2 answered 429 {sum(crowded.values())} times to {BURST} writes, as for {next(iter(crowded))}, because it"
        " accepts one write a second for each key. Upload under separate keys, or group concurrent writes into one"
        " upload"
    )
    lost = missing(kept, await person.reads())
    assert not lost, (
        f"{len(lost)} of {BURST} acknowledged writes of a burst are not shown: one upload replaced another. Use"
        " separate keys, or upload with If-Match and retry on the newer state"
    )


async def keys_with_429(stack: Stack, prefix: str, since: float) -> dict[str, int]:
    """How often R2 answered 429 for each key below ``prefix`` since then (Unix seconds)."""
    found = (await stack.admin("GET", f"/r2/requests?limit=20000&status=429&prefix={prefix}"))["requests"]
    keys = [entry["key"] for entry in found if float(entry["time"]) >= since]
    return {key: keys.count(key) for key in dict.fromkeys(keys)}
