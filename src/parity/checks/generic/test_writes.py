"""The controls of all other checks of data: a new person can sign in, and writes last without any fault.

Where one of them fails, the checks that rest on it end as "not judged": they could not tell a fault's effect from an
app that loses writes by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from parity.checks import Proxy, check
from parity.checks.generic.support import UNKNOWN, acknowledged
from parity.checks.person import Attempt, People, Person, missing
from parity.contract import Refused


@check(
    "B",
    "A new person can sign in",
    broken=Proxy("answers", status=500),
    because="answered 500",
    live=True,
    fast=True,
)
async def test_someone_new_can_come(people: People) -> None:
    """Look at the answer to the sign-in in requests.json, and at the Machine's log for its cause."""
    await people()


@check(
    "B",
    "Writes last without any fault: two in turn, then eight at once",
    broken=Proxy("second_edit_dropped"),
    because="eight writes at once, .* are not shown",
    rests_on=("test_someone_new_can_come",),
    live=True,
    fast=True,
)
async def test_writes_last(person: Person) -> None:
    """Read, decide and write in one transaction."""
    two = [await person.attempt() for _ in range(2)]
    accepted(two, "two writes in turn")
    lost = missing(two, await shown(person, "two writes in turn"))
    assert not lost, (
        f"two writes in turn, one Machine, no fault: {len(lost)} of 2 acknowledged writes are not shown. Acknowledge a"
        " write only when it is committed, and read what was committed"
    )
    many = await asyncio.gather(*(person.attempt() for _ in range(8)))
    lost = missing(many, await shown(person, "eight writes at once"))
    assert not lost, (
        f"eight writes at once, one Machine, no fault: {len(lost)} of {acknowledged(many)} acknowledged writes are not"
        " shown. Two requests read the same state, and the later one overwrote the earlier one's change: read and write"
        " in one transaction"
    )
    accepted([one for one in many if why(one.answer) != one.answer], "eight writes at once")


async def shown(person: Person, after: str) -> Collection[str]:
    """Every text that the app shows to the person; fails where it refuses the read."""
    try:
        return await person.read()
    except Refused as refused:
        raise AssertionError(
            f"{after}, one Machine, no fault: then the read was refused: {why(str(refused))}"
        ) from None


def accepted(writes: Sequence[Attempt], what: str) -> None:
    """Assert that the app has acknowledged these writes."""
    refused = [write.answer for write in writes if not write.acknowledged]
    assert not refused, f"{what}, one Machine, no fault: {len(refused)} are refused: {why(refused[0])}"


def why(refusal: str) -> str:
    """The refusal of a request of a person who has just signed in, with what may have caused it."""
    if any(f"answered {status}:" in refusal for status in UNKNOWN):
        return (
            f"{refusal}. The app does not know the person who has just signed in. If it runs several processes, they do"
            " not know each other's sessions: keep sessions where every process finds them, or in signed tokens"
        )
    if "answered 500:" in refusal:
        return f"{refusal}. The app raised an exception: see the Machine's log. With SQLite use WAL and a busy timeout"
    return refusal
