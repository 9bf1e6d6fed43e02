"""R2 fails while a Machine with an empty disk starts: the app must not treat a person who has data as a new person.

The check first records which requests a cold start sends to R2, those of the boot included. It then fails each of them
in turn, and asserts that the person's earlier writes are shown or the request is refused, and that nothing is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from parity.checks import Proxy, check, not_judged
from parity.checks.faults import Faults
from parity.checks.generic.own_time import opened_in_its_own_time
from parity.checks.generic.support import (
    PATIENCE_S,
    UNKNOWN,
    answered,
    asked_since,
    how_many,
    patterns,
    replicated,
    several_machines,
    until,
)
from parity.checks.machines import Machines
from parity.checks.person import Attempt, People, Person, missing
from parity.checks.stack import Stack, StackError
from parity.contract import Refused

# How requests fail. Every retry fails too, until the app has answered: the last retry must not end as "nothing there".
FAILURES: dict[str, dict[str, Any]] = {
    "fails (503)": {"status": 503},
    "ends without an answer": {"drop": "before"},
}

# Statuses with which an app tells a person who has data that it does not know them.
STRANGER = (*UNKNOWN, 404)


@dataclass
class Case:
    """One request of a cold start that was made to fail for one person, and the harm it did."""

    person: Person
    what: str
    kept: list[Attempt]
    fired: int = 0
    wrong: list[str] = field(default_factory=list)


@check(
    "C",
    "When a request to R2 fails while a Machine starts or serves first requests, no person's data looks empty",
    broken=Proxy("failure_as_empty"),
    because="as if the person had nothing",
    needs=("in_bucket",),
    alone=True,
    deadline_s=300,
    rests_on=("test_durable",),
)
async def test_each_fault(people: People, machines: Machines, faults: Faults, stack: Stack) -> None:
    """Treat only a 404 of R2 as 'nothing there'; answer 503 for every other error of R2."""
    one, other = await people(), await people()
    several_machines(one)
    await one.reads()
    asked = await cold_start(one, machines, stack), await cold_start(other, machines, stack)
    found = patterns(*asked, (one.owns, other.owns))
    if not found:
        not_judged("a cold start sends no request to R2, so there is none to fail")
    cases: list[Case] = []
    # A fault below a person's own prefix hits no other person, so all such cases share one Machine with an empty disk.
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
        f"{how_many([one_case.wrong for one_case in cases])} failures of R2 at a cold start make data look empty. Only"
        " a 404 of R2 means that nothing is there; answer 503 for every other error:\n" + "\n".join(harmful)
    )
    if not any(one_case.fired for one_case in cases):
        not_judged("no request to R2 was hit by a fault, so nothing was tested")


async def cold_start(person: Person, machines: Machines, stack: Stack) -> list[tuple[str, str]]:
    """The requests that a Machine with an empty disk sends to R2 for this person, those of its boot included."""
    kept = [await person.attempt() for _ in range(2)]
    since = time.time()
    async with machines.one_more() as cold:
        shown = await answered(person.on(cold))
        asked = await asked_since(stack, since)
    if not any(write.acknowledged for write in kept) or missing(kept, shown):
        not_judged("a Machine with an empty disk does not show the writes even without a fault: see test_durable")
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
    """A person with two writes reads while one request to R2 fails.

    They read from the Machine ``cold``; where it is None, from a Machine that boots while the request fails.
    """
    person = await people()
    kept = [Attempt(await person.write(), True, "") for _ in range(2)]
    found = Case(person, f"{operation} {key.replace('{owns}', '…/') or '(the bucket)'} {failure}", kept)
    pattern = key.replace("{owns}", person.owns) or "*"
    async with faults.on(pattern, operation, must_fire=False, **FAILURES[failure]) as fault:
        if cold is None:
            assert machines is not None
            cold = await in_force.enter_async_context(machines.booting())
            started = await until(lambda: machines.get(cold), lambda m: m["port"] in ("open", "closed"), PATIENCE_S)
            if started["port"] != "open":  # a Machine that does not start shows no empty data: a good outcome
                return found
        shown, again = await first_look(person, cold)
        if not isinstance(shown, str) and (gone := missing(kept, shown)):
            found.wrong.append(
                f"{found.what}: the app answered as if the person had nothing ({len(kept) - len(gone)} of 2 writes"
                " shown)"
            )
        await again.attempt()  # a write on top of the empty state may replace the stored data
    found.fired = fault.fired
    return found


async def first_look(person: Person, machine: str) -> tuple[Collection[str] | str, Person]:
    """What the person sees in a new browser, or the text of the refusal; and the person as that browser knows them."""
    try:
        again = await person.comes_back(machine)
        return await again.read(), again
    except Refused as refused:
        return str(refused), person.on(machine)


async def look_again(case: Case, machine: str) -> None:
    """After the fault: a Machine that met no fault must show every earlier write."""
    await case.person.on(machine).attempt()
    if missing(case.kept, await answered(case.person.on(machine))):
        case.wrong.append(f"{case.what}: after the fault the earlier writes are still missing, so they are lost")
    elif missing(case.kept, await answered(await case.person.comes_back(machine))):
        case.wrong.append(f"{case.what}: after the fault the person comes back and is given a new, empty account")


@check(
    "C",
    "A Machine that boots while R2 is down does not serve empty data",
    broken=Proxy("failure_as_empty"),
    because="as if the person had nothing",
    needs=("in_bucket",),
    alone=True,
    deadline_s=150,
    rests_on=("test_durable",),
)
async def test_boot_in_outage(person: Person, machines: Machines, faults: Faults) -> None:
    """While R2 cannot be reached, do not start or answer 503; never begin with an empty database."""
    await person.reads()
    early = [await person.attempt()]
    await replicated(person, machines.stack)
    for machine in await machines.all():
        await machines.destroy(machine["id"])
    async with AsyncExitStack() as outage:
        down = await outage.enter_async_context(faults.on("*", status=503, must_fire=False))
        async with machines.booting() as made:
            known, newcomer = person.on(made), person.another().on(made)
            came = False
            during = await until(lambda: machines.get(made), lambda m: m["port"] in ("open", "closed"), PATIENCE_S)
            # Where a busy host gave the Machine no CPU, the edge gave up on it too early.
            if during["port"] == "open" or await opened_in_its_own_time(machines, made):
                wrong_view(await look(known), early, "during the outage")
                came = await comes(newcomer)
            await outage.aclose()
            # R2 works again: the Machine goes on with what it has loaded, or starts now.
            await opens(machines, made)
            after = await until(lambda: look(known), lambda shown: not isinstance(shown, Refused), PATIENCE_S)
            wrong_view(after, early, "after it")
            # Someone new is written on top of what was loaded, before the person who was there is.
            new = [await newcomer.attempt()] if came or await comes(newcomer) else []
            early.append(await known.attempt())
            await replicated(person, machines.stack)
    fresh = await machines.replace_all()
    for whose, one, writes in (("earlier", person, early), ("newcomer's", newcomer, new)):
        last = await answered(one.on(fresh))
        assert not missing(writes, last), (
            f"after a boot during an outage of R2 the {whose} write is lost for good; shown: {last}. A Machine that"
            " started with empty data has overwritten what R2 held"
        )
    if not down.fired:
        not_judged("neither the boot nor a read sent a request to R2, so the outage tested nothing")


async def look(person: Person) -> Collection[str] | Refused:
    """What the app shows to the person, or its refusal."""
    try:
        return await person.read()
    except Refused as refused:
        return refused


async def comes(newcomer: Person) -> bool:
    """Whether someone new can sign in. Not tried where the app limits how many people may."""
    if hasattr(newcomer.app, "people"):
        return False
    try:
        await newcomer.app.sign_in()
    except Refused:
        return False
    return True


def wrong_view(shown: Collection[str] | Refused, early: Collection[Attempt], when: str) -> None:
    """Assert that a Machine that booted without R2 shows the early writes, or refuses as one that knows the person."""
    machine = f"a Machine that booted while R2 was down answers {when}"
    if isinstance(shown, Refused):
        assert shown.status not in STRANGER, (
            f"{machine} a person who has data as if it did not know them ({shown}), so the page signs them out. It took"
            " an error of R2 for a missing session or account: treat only a 404 as missing, and answer 503 otherwise"
        )
        assert when == "during the outage", (
            f"{machine}, for {PATIENCE_S:g} s, with a refusal: {shown}. Load what is missing when a request needs it,"
            " instead of keeping the failure of the boot"
        )
        return
    assert not missing(early, shown), (
        f"{machine} as if the person had nothing ({len(shown)} shown). It took an error of R2 for an empty bucket:"
        " treat only a 404 as missing, and answer 503 otherwise"
    )


async def opens(machines: Machines, machine: str) -> None:
    """Assert that the Machine serves soon after the outage. Fly starts it again if its process has ended."""
    try:
        await machines.open(machine)
    except StackError as error:
        raise AssertionError(
            f"a Machine that booted while R2 was down does not serve after the outage either: {error}. Try again until"
            " R2 answers, or end the process, so that Fly starts it again"
        ) from None
