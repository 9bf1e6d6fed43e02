"""Two Machines serve one person, as during a deploy or when Fly starts a second Machine."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from parity.checks import Named, Proxy, check, not_judged
from parity.checks.faults import Faults
from parity.checks.generic.support import PATIENCE_S, acknowledged, answered, several_machines, until
from parity.checks.machines import Machines
from parity.checks.person import Attempt, Person, missing
from parity.contract import BY_WAY_OF, Edit, Refused

# Seconds to wait before a turn, so that an app's cached view of R2 (usually valid for a second) expires.
GROWS_OLD_S = 1.2
# Seconds for which a read on another Machine may show an older state before the check calls it stale.
FRESH_S = 5.0
# A Machine that writes on an old state. Where conditions of R2 prevent that, the contract can name R2 without them.
OLD_STATE_WRITTEN = Named("conditions_ignored", otherwise=Proxy("edits_of_another_machine_dropped"))
# How many times a check sends two edits at once.
TURNS = 3


@check(
    "D",
    "When two Machines write in turn, both show every acknowledged write",
    broken=OLD_STATE_WRITTEN,
    because=r"acknowledged writes are not shown: \d+ of \d+ by the",
    deadline_s=120,
    rests_on=("test_durable",),
    fast=True,
)
async def test_in_turn(person: Person, machines: Machines) -> None:
    """Upload with If-Match, and repeat the write on the newer state when the condition fails."""
    several_machines(person)
    one = await machines.first()
    async with machines.one_more() as two:
        kept = [await person.on(machine).attempt() for machine in (one, two) * 3]
        if not acknowledged(kept):
            not_judged(f"no write is acknowledged: {kept[-1].answer}")
        await shown_everywhere(person, machines, kept, {"first": one, "second": two})


@check(
    "D",
    "When two Machines write at the same time, no acknowledged write is lost",
    broken=OLD_STATE_WRITTEN,
    because=r"acknowledged writes are not shown: \d+ of \d+ by the",
    deadline_s=120,
    rests_on=("test_durable",),
)
async def test_at_once(person: Person, machines: Machines, faults: Faults) -> None:
    """Upload with If-Match, and repeat the write on the newer state when the condition fails."""
    several_machines(person)
    one = await machines.first()
    kept: list[Attempt] = []
    async with machines.one_more() as two:
        await person.on(two).reads()
        async with faults.on(f"*{person.owns}*", delay=0.1, must_fire=False):  # slow R2, so that the writes overlap
            for _ in range(3):
                kept += await asyncio.gather(*(person.on(machine).attempt() for machine in (one, two, one, two)))
        assert acknowledged(kept), (
            f"when two Machines write at once none of {len(kept)} writes is acknowledged: {kept[-1].answer}. Repeat a"
            " write on the newer state when If-Match fails"
        )
        await shown_everywhere(person, machines, kept, {"first": one, "second": two})


async def shown_everywhere(person: Person, machines: Machines, kept: Sequence[Attempt], two: dict[str, str]) -> None:
    """Assert that both Machines and a third with an empty disk show every acknowledged write, within ``FRESH_S``."""
    async with machines.one_more() as cold:
        everywhere = {**two, "empty": cold}

        async def lost() -> dict[str, list[str]]:
            return {name: missing(kept, await answered(person.on(m))) for name, m in everywhere.items()}

        gone = await until(lost, lambda found: not any(found.values()), FRESH_S)
    assert not any(gone.values()), (
        "acknowledged writes are not shown: "
        + ", ".join(
            f"{len(texts)} of {acknowledged(kept)} by the {name} Machine" for name, texts in gone.items() if texts
        )
        + ". One Machine replaced what the other had uploaded: upload with If-Match, and repeat the write on the newer"
        " state when the condition fails"
    )


@check(
    "D",
    "A Machine shows what another Machine has acknowledged",
    broken=Proxy("first_answer_kept"),
    because="is not shown by the other Machine",
    deadline_s=90,
    rests_on=("test_durable",),
)
async def test_seen_by_the_other(person: Person, machines: Machines) -> None:
    """Ask R2 for a newer state before each read, or send all requests of a person to one Machine."""
    several_machines(person)
    one = await machines.first()
    async with machines.one_more() as two:
        # served_here: first the Machine must answer itself; then it may replay the request to the person's owner.
        for served_here in (True, False):
            for writer, reader in ((one, two), (two, one), (one, two)):
                there = person.on(reader)
                there.api.served_here = served_here
                await there.reads()  # now this Machine has a view, which the write below makes old
                here = person.on(writer)
                here.api.served_here = served_here
                write = await here.attempt()
                if not write.acknowledged:
                    continue

                async def gone(there: Person = there, write: Attempt = write) -> list[str]:
                    return missing([write], await there.reads())

                assert not await until(gone, lambda found: not found, FRESH_S), (
                    f"{write.text}, acknowledged by one Machine, is not shown by the other Machine within {FRESH_S:g}"
                    " s, which keeps serving an old state. Ask R2 for a newer state before each read, or send all"
                    " requests of a person to one Machine"
                )


@check(
    "D",
    "After a write conflict with another Machine, both Machines acknowledge writes again",
    broken=Proxy("stuck_after_failure"),
    because="no write is acknowledged any more",
    needs=("in_bucket",),
    deadline_s=120,
    rests_on=("test_durable",),
)
async def test_heals_after_conflict(person: Person, machines: Machines, faults: Faults) -> None:
    """After a conflict load the newer state and continue; keep no conflict past the request that met it."""
    several_machines(person)
    one = await machines.first()
    async with machines.one_more() as two:
        await person.on(two).attempt()
        # Until both attempts are over: an app that repeats a conditional write by itself must meet the conflict too.
        async with faults.on(f"{person.owns}*", "PutObject", status=412):
            for machine in (one, two):
                await person.on(machine).attempt()
        for name, machine in (("first", one), ("second", two)):

            async def again(machine: str = machine) -> Attempt:
                return await person.on(machine).attempt()

            last = await until(again, lambda write: write.acknowledged, 15.0)
            assert last.acknowledged, (
                f"15 s after the last conflict no write is acknowledged any more by the {name} Machine: {last.answer}."
                " Load the newer state after a conflict, and continue from it"
            )


@check(
    "B",
    "When two fields of one record are edited at the same time, both edits last",
    broken=Proxy("second_edit_dropped"),
    because="one edit undid the other",
    needs=("edit",),
    deadline_s=90,
    rests_on=("test_writes_last",),
)
async def test_edits_at_once(person: Person, faults: Faults) -> None:
    """Change only the field that was sent, and read and write it in one transaction."""
    fields = await person.app.edit()
    await edits_last(fields)
    undone: list[str] = []
    # R2 is slow, and one edit is sent between several edits of the other field, so that they overlap.
    async with faults.on(f"*{person.owns}*", delay=0.1, must_fire=False):
        for turn in range(TURNS):
            await asyncio.sleep(GROWS_OLD_S)
            undone += await amid(fields[turn % 2], fields[1 - turn % 2], fields[turn % 2])
    assert not undone, (
        f"one edit undid the other in {len(undone)} of {TURNS} turns: {undone[0]}. The app reads the whole record,"
        " changes it and writes it back outside a transaction: change only the field that was sent"
    )


@check(
    "D",
    "When two Machines edit fields of one record at the same time, both edits last",
    broken=OLD_STATE_WRITTEN,
    because="one edit undid the other",
    needs=("edit",),
    deadline_s=120,
    rests_on=("test_durable",),
)
async def test_edits_on_two_machines(person: Person, machines: Machines, faults: Faults) -> None:
    """Change only the field that was sent, on the newest state of the record."""
    several_machines(person)
    fields = await person.app.edit()
    await edits_last(fields)
    undone: list[str] = []
    async with machines.one_more() as two:
        there = [by_another(field, two) for field in fields]
        for turn in range(TURNS):
            await asyncio.sleep(GROWS_OLD_S)
            async with faults.on(f"*{person.owns}*", delay=0.1, must_fire=False):
                undone += await amid(fields[turn % 2], there[1 - turn % 2], there[turn % 2])
    assert not undone, (
        f"one edit undid the other in {len(undone)} of {TURNS} turns: {undone[0]}. A Machine wrote back a whole record"
        " that another Machine had changed meanwhile: change only the field that was sent, on the newest state"
    )


@check(
    "D",
    "When two Machines edit one record in turn, each edit keeps the edits before it",
    broken=OLD_STATE_WRITTEN,
    because="one edit undid the other",
    needs=("edit",),
    deadline_s=120,
    rests_on=("test_durable",),
)
async def test_edits_in_turn(person: Person, machines: Machines) -> None:
    """Load what another Machine wrote before you change a record."""
    several_machines(person)
    here = await person.app.edit()
    await edits_last(here)
    async with machines.one_more() as two:
        there = [by_another(field, two) for field in here]
        expected: dict[int, str] = {}
        for turn in range(6):
            which, fields = turn % 2, (here, there)[(turn // 2) % 2]
            text = f"turn {turn} {secrets.token_hex(3)}"
            if await edited(fields[which], text):
                expected[which] = text
            await until_shown(fields, expected, f"turn {turn}")


async def until_shown(fields: Sequence[Edit], expected: dict[int, str], when: str) -> None:
    """Assert that the fields show the expected texts within ``FRESH_S``. ``when`` goes into the message."""

    async def wrong() -> list[str]:
        shown = {which: await shown_by(fields[which]) for which in expected}
        return [
            f"{text!r} was acknowledged, then {shown[w]!r} is shown" for w, text in expected.items() if shown[w] != text
        ]

    found = await until(wrong, lambda reasons: not reasons, FRESH_S)
    assert not found, (
        f"one edit undid the other in {when}: {found[0]}. Load what another Machine wrote before you change a record"
    )


async def shown_by(field: Edit) -> str:
    """The value that is shown for the field. A refusal counts only when it lasts ``PATIENCE_S``: then its text.

    On a busy host a read may be refused for a moment, and no edit is lost by that.
    """

    async def once() -> str | Refused:
        try:
            return await field.shown()
        except Refused as refused:
            return refused

    return str(await until(once, lambda shown: not isinstance(shown, Refused), PATIENCE_S))


def by_another(field: Edit, machine: str) -> Edit:
    """The same field of the same record, edited and read through that Machine."""

    async def do(text: str) -> None:
        token = BY_WAY_OF.set(machine)
        try:
            await field.do(text)
        finally:
            BY_WAY_OF.reset(token)

    async def shown() -> str:
        token = BY_WAY_OF.set(machine)
        try:
            return await field.shown()
        finally:
            BY_WAY_OF.reset(token)

    return Edit(do, shown)


async def edits_last(fields: Sequence[Edit]) -> None:
    """The control: one edit after another, on one Machine, is shown. Otherwise the check ends as "not judged"."""
    for number, field in enumerate(fields[:2]):
        await field.do(text := f"before {number} {secrets.token_hex(3)}")
        if (shown := await field.shown()) != text:
            not_judged(f"an edit is not shown even without a fault: {text!r} was acknowledged, then {shown!r} is shown")


async def amid(one: Edit, other: Edit, reader: Edit) -> list[str]:
    """Send one edit between five edits of the other field, all at once. Returns what is wrong afterwards."""
    mine = f"one {secrets.token_hex(3)}"
    jobs = [edited(other, f"other {n} {secrets.token_hex(3)}") for n in range(5)]
    jobs.insert(2, edited(one, mine))
    done = await asyncio.gather(*jobs)

    async def shown() -> str:
        return await shown_by(reader)

    if not done[2]:
        return []
    seen = await until(shown, lambda text: text == mine, FRESH_S)
    return [] if seen == mine else [f"{mine!r} was acknowledged, then {seen!r} is shown"]


async def edited(field: Edit, text: str) -> bool:
    """Edit the field, with up to five attempts, as a page would retry. Returns whether one was acknowledged."""
    for _ in range(5):
        try:
            await field.do(text)
            return True
        except Refused:
            await asyncio.sleep(0.1)
    return False
