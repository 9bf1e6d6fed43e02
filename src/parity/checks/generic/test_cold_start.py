"""A Machine with an empty disk meets an R2 that fails: a person who has data must not be taken for a new one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from parity.checks import Proxy, check, not_judged
from parity.checks.faults import Faults
from parity.checks.generic.support import PATIENCE_S, answered, asked_since, patterns, several_machines, until, within_s
from parity.checks.machines import Machines
from parity.checks.person import Attempt, People, Person, missing
from parity.checks.stack import Stack
from parity.contract import Refused

# What each request meets until an answer was given: a retry that is the last must not find "nothing".
FAILURES: dict[str, dict[str, Any]] = {
    "fails (503)": {"status": 503},
    "ends without an answer": {"drop": "before"},
}


@dataclass
class Case:
    """One request of a cold start that fails for one person, and what came of it."""

    person: Person
    what: str
    kept: list[Attempt]
    fired: int = 0
    wrong: list[str] = field(default_factory=list)


@check(
    "C",
    "While a Machine boots and serves its first requests, no failed request to R2 makes a person's data look empty",
    broken=Proxy("failure_as_empty"),
    because="as if the person had nothing",
    needs=("in_bucket",),
    alone=True,
    deadline_s=300,
    rests_on=("test_durable",),
)
async def test_each_fault(people: People, machines: Machines, faults: Faults, stack: Stack) -> None:
    """Take only a 404 for 'nothing there'; pass every other error of R2 on as 503."""
    one, other = await people(), await people()
    several_machines(one)
    await one.read()
    asked = await cold_start(one, machines, stack), await cold_start(other, machines, stack)
    found = patterns(*asked, (one.owns, other.owns))
    if not found:
        not_judged("a cold start asks R2 for nothing")
    cases: list[Case] = []
    # Faults below a person's own prefix meet no other person: one Machine with an empty disk meets all of them.
    apart = one.owns != other.owns
    together = [(op, key, name) for op, key in found for name in FAILURES if apart and "{owns}" in key]
    async with AsyncExitStack() as in_force:
        cold = await in_force.enter_async_context(machines.one_more())
        cases += await asyncio.gather(*(case(people, faults, in_force, cold, *request) for request in together))
    for request in [(op, key, name) for op, key in found for name in FAILURES if not (apart and "{owns}" in key)]:
        async with AsyncExitStack() as in_force:
            cases.append(await case(people, faults, in_force, None, *request, machines=machines))
    async with machines.one_more() as later:
        for one_case in cases:
            await look_again(one_case, later)
    harmful = [reason for one_case in cases for reason in one_case.wrong]
    assert not harmful, (
        f"{len(harmful)} failures of R2, of {len(cases)} tried, do harm. Only an answer of 404 means that nothing is"
        " there:\n" + "\n".join(harmful)
    )
    if not any(one_case.fired for one_case in cases):
        not_judged("none of the faults met a request")


async def cold_start(person: Person, machines: Machines, stack: Stack) -> list[tuple[str, str]]:
    """What R2 is asked by a Machine that never saw the person, its boot included."""
    kept = [await person.attempt() for _ in range(2)]
    since = time.time()
    async with machines.one_more() as cold:
        shown = await answered(person.on(cold))
        asked = await asked_since(stack, since)
    if not any(write.acknowledged for write in kept) or missing(kept, shown):
        not_judged("without any fault a Machine with an empty disk does not show the writes: see the check of class B")
    return asked


async def case(
    people: People,
    faults: Faults,
    in_force: AsyncExitStack,
    cold: str | None,
    operation: str,
    key: str,
    failure: str,
    machines: Machines | None = None,
) -> Case:
    """A person with two writes meets the failure on ``cold``, or on a Machine that boots under it (None)."""
    person = await people()
    kept = [Attempt(await person.write(), True, "") for _ in range(2)]
    found = Case(person, f"{operation} {key.replace('{owns}', '…/') or '(the bucket)'} {failure}", kept)
    pattern = key.replace("{owns}", person.owns) or "*"
    async with faults.on(pattern, operation, must_fire=False, **FAILURES[failure]) as fault:
        if cold is None:
            assert machines is not None
            cold = await in_force.enter_async_context(machines.booting())
            started = await until(lambda: machines.get(cold), lambda m: m["port"] in ("open", "closed"), PATIENCE_S)
            if started["port"] != "open":  # not to start is a good way not to begin with nothing
                return found
        shown, again = await first_look(person, cold)
        if not isinstance(shown, str) and (gone := missing(kept, shown)):
            found.wrong.append(
                f"{found.what}: answered as if the person had nothing ({len(kept) - len(gone)} of 2 writes shown)"
            )
        await again.attempt()  # what it makes of what it believes
    found.fired = fault.fired
    return found


async def first_look(person: Person, machine: str) -> tuple[Collection[str] | str, Person]:
    """What is shown to the person in a new browser, or the refusal; and the person as they are then known."""
    try:
        again = await person.comes_back(machine)
        return await again.read(), again
    except Refused as refused:
        return str(refused), person.on(machine)


async def look_again(case: Case, machine: str) -> None:
    """The fault is over: everything must be there again, on a Machine that met none."""
    await case.person.on(machine).attempt()
    if missing(case.kept, await answered(case.person.on(machine))):
        case.wrong.append(f"{case.what}: and the earlier writes are gone for good")
    elif missing(case.kept, await answered(await case.person.comes_back(machine))):
        case.wrong.append(f"{case.what}: and when the person comes back they find another, empty place")


@check(
    "C",
    "A Machine that boots while R2 is down does not start with empty data",
    broken=Proxy("failure_as_empty"),
    because="as if the person had nothing",
    needs=("in_bucket",),
    alone=True,
    deadline_s=150,
    rests_on=("test_durable",),
)
async def test_boot_in_outage(person: Person, machines: Machines, faults: Faults) -> None:
    """Do not start, or answer 503, while R2 cannot be asked; never begin with an empty database."""
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
    last = await answered(person.on(await machines.replace_all()))
    assert not missing(early, last), f"after a boot in an outage the earlier write is gone for good; shown: {last}"
    if not down.fired:
        not_judged("neither the boot nor a read asked R2 for anything")
