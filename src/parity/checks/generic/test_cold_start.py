"""A Machine with an empty disk meets an R2 that fails: whoever has something must not be taken for somebody new."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import AsyncExitStack

from parity.checks import Proxy, check, not_judged
from parity.checks.faults import Faults
from parity.checks.generic.support import PATIENCE_S, asked_since, patterns, several_machines, until, within_s
from parity.checks.machines import Machines
from parity.checks.person import Attempt, People, Person, missing
from parity.checks.stack import Stack
from parity.contract import Refused

AT_ONCE = 3
# What each request meets: one failure, which a retry would overcome; failures until an answer was given; a reset.
FAILURES: dict[str, dict[str, object]] = {
    "fails once (503)": {"status": 503, "times": 1},
    "fails until an answer is given (503)": {"status": 503},
    "ends without an answer, once": {"drop": "before", "times": 1},
}


@check(
    "C",
    "No failed request to R2 is taken for a person who has nothing, while a Machine boots or first serves them",
    broken=Proxy("failure_as_empty"),
    because="as if the person had nothing",
    needs=("in_bucket",),
    alone=True,
    deadline_s=300,
    rests_on=("test_durable",),
)
async def test_each_fault(people: People, machines: Machines, faults: Faults, stack: Stack) -> None:
    one, other = await people(), await people()
    several_machines(one)
    await one.read()
    found = patterns(
        await cold_start(one, machines, stack), await cold_start(other, machines, stack), (one.owns, other.owns)
    )
    if not found:
        not_judged("a cold start asks R2 for nothing")
    at_once = asyncio.Semaphore(AT_ONCE)

    async def case(operation: str, key: str, failure: str) -> tuple[int, list[str]]:
        async with at_once:
            return await one_fault(await people(), machines, faults, operation, key, failure)

    cases = await asyncio.gather(*(case(*request, failure) for request in found for failure in FAILURES))
    harmful = [reasons for _, reasons in cases if reasons]
    assert not harmful, (
        f"{len(harmful)} of {len(cases)} failures of R2 do harm. Only an answer of 404 means that nothing is there:\n"
        + "\n".join(reason for reasons in harmful for reason in reasons)
    )
    if not any(fired for fired, _ in cases):
        not_judged("none of the faults met a request")


async def cold_start(person: Person, machines: Machines, stack: Stack) -> list[tuple[str, str]]:
    """What R2 is asked by a Machine that never saw the person, its boot included."""
    kept = [await person.attempt() for _ in range(2)]
    since = time.time()
    async with machines.one_more() as cold:
        shown = await person.on(cold).reads()
        asked = await asked_since(stack, since)
    if not any(write.acknowledged for write in kept) or missing(kept, shown):
        not_judged("without any fault a Machine with an empty disk does not show the writes: see the check of class B")
    return asked


async def one_fault(
    person: Person, machines: Machines, faults: Faults, operation: str, key: str, failure: str
) -> tuple[int, list[str]]:
    """How often the fault met a request, and what harm it did."""
    kept = [Attempt(await person.write(), True, "") for _ in range(2)]
    what, wrong = f"{operation} {key.replace('{owns}', '…/')} {failure}", []
    pattern = key.replace("{owns}", person.owns) or "*"
    shown: Collection[str] | str = "it did not start"
    options = dict(FAILURES[failure])
    times = options.pop("times", None)
    async with (
        faults.on(pattern, operation, times=times, must_fire=False, **options) as fault,  # type: ignore[arg-type]
        machines.booting() as cold,
    ):
        started = await until(lambda: machines.get(cold), lambda m: m["port"] in ("open", "closed"), PATIENCE_S)
        again = person.on(cold)
        if started["port"] == "open":
            try:
                again = await person.comes_back(cold)
                shown = await again.read()
            except Refused as refused:
                shown = str(refused)
        if not isinstance(shown, str) and (gone := missing(kept, shown)):
            wrong.append(f"{what}: answered as if the person had nothing ({len(kept) - len(gone)} of 2 shown)")
        if times is None:
            await again.attempt()  # what it makes of what it believes
    async with machines.one_more() as later:
        await person.on(later).attempt()
        if missing(kept, await person.on(later).reads()):
            wrong.append(f"{what}: and the earlier writes are gone for good")
        elif missing(kept, await (await person.comes_back(later)).reads()):
            wrong.append(f"{what}: and when the person comes back they find another, empty place")
    return fault.fired, wrong


@check(
    "C",
    "A Machine that boots while R2 is down does not begin anew",
    broken=Proxy("failure_as_empty"),
    because="as if the person had nothing",
    needs=("in_bucket",),
    alone=True,
    deadline_s=150,
    rests_on=("test_durable",),
)
async def test_boot_in_outage(person: Person, machines: Machines, faults: Faults) -> None:
    await person.read()
    early = [await person.attempt()]
    await asyncio.sleep(within_s(person))
    for machine in await machines.all():
        await machines.destroy(machine["id"])
    async with AsyncExitStack() as outage:
        down = await outage.enter_async_context(faults.on("*", status=503, must_fire=False))
        async with machines.booting() as made:
            during = await until(lambda: machines.get(made), lambda m: m["port"] in ("open", "closed"), PATIENCE_S)
            answers = {"during the outage": await person.on(made).reads()} if during["port"] == "open" else {}
            await outage.aclose()
            if answers:  # R2 is back: the Machine goes on with what it holds now
                answers["after it"] = await person.on(made).reads()
                await person.on(made).attempt()
                await asyncio.sleep(within_s(person))
    for when, shown in answers.items():
        assert isinstance(shown, str) or not missing(early, shown), (
            f"a Machine that booted while R2 was down answers {when} as if the person had nothing ({len(shown)} shown):"
            " an error of R2 is not an empty bucket"
        )
    last = await person.on(await machines.replace_all()).reads()
    assert not missing(early, last), f"after a boot in an outage the earlier write is gone for good; shown: {last}"
    if not down.fired:
        not_judged("neither the boot nor a read asked R2 for anything")
