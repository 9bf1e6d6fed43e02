"""The controls of all other checks of data: a new person can sign in, and writes last without any fault.

Where one of them fails, the checks that rest on it end as "not judged": they could not tell a fault's effect from an
app that loses writes by itself.
"""

from __future__ import annotations

import asyncio

from parity.checks import Proxy, check
from parity.checks.person import Attempt, People, Person, missing


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
    because="eight writes at once",
    rests_on=("test_someone_new_can_come",),
    live=True,
    fast=True,
)
async def test_writes_last(person: Person) -> None:
    """Read, decide and write in one transaction."""
    two = [Attempt(await person.write(), True, "") for _ in range(2)]
    lost = missing(two, await person.reads())
    assert not lost, (
        f"two writes in turn, one Machine, no fault: {len(lost)} of 2 acknowledged writes are not shown. Acknowledge a"
        " write only when it is committed, and read what was committed"
    )
    many = await asyncio.gather(*(person.attempt() for _ in range(8)))
    acknowledged = sum(write.acknowledged for write in many)
    lost = missing(many, await person.reads())
    assert not lost, (
        f"eight writes at once, one Machine, no fault: {len(lost)} of {acknowledged} acknowledged writes are not shown."
        " Two requests read the same state, and the later one overwrote the earlier one's change: read and write in one"
        " transaction"
    )
    broken = [write.answer for write in many if "answered 500" in write.answer]
    assert not broken, (
        f"eight writes at once, one Machine, no fault: {len(broken)} end with an exception, such as {broken[0]}. With"
        " SQLite use WAL and a busy timeout"
    )
