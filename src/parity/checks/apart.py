"""Whether checks that stop Machines and make R2 fail can run beside each other: see ``apart`` of the mark.

They can where a fault of one person's keys meets all that this person's requests ask of R2 and nothing that another
person's ask, and where several Machines may serve at once. It is found out by trying, once in a run: no contract says
it. Where it does not hold, or cannot be found out, such checks run alone, which takes longer and shows the same.
"""

from __future__ import annotations

import time
from collections.abc import Collection

import httpx

from parity.checks.mark import About
from parity.checks.person import People
from parity.checks.stack import Stack
from parity.contract import FullContract, InBucket, RateLimited, Refused


async def can_be_apart(stack: Stack, contract: type[FullContract], people: People) -> bool:
    """Whether two people who come, write and read ask R2 for nothing but what lies below a prefix of their own.

    To be asked while nothing else uses the stack. Raises ``StackError``.
    """
    keeps = contract.keeps
    if not isinstance(keeps, InBucket) or keeps.within_s or not hasattr(contract, "owns"):
        return False
    if hasattr(contract, "people"):  # they are few, and needed by the checks
        return False
    since = time.time()
    try:
        one, other = await people(), await people()
        for person in (one, other):
            await person.write()
            await person.read()
    except (Refused, RateLimited, httpx.HTTPError):
        return False
    if not (one.owns and other.owns) or one.owns.startswith(other.owns) or other.owns.startswith(one.owns):
        return False
    asked = (await stack.admin("GET", "/r2/requests?limit=20000"))["requests"]
    places = [entry["key"] or entry["prefix"] for entry in asked if float(entry["time"]) >= since]
    return bool(places) and all(place.startswith((one.owns, other.owns)) for place in places)


def runs_alone(about: About | None, fixtures: Collection[str], *, apart: bool, one_machine: bool) -> bool:
    """Whether the check holds the stack's lock exclusively.

    Where only one Machine of the app may run, a check that uses ``machines`` replaces the one that all other checks
    use: their requests would be answered with 502.
    """
    if about is None:
        return False
    return about.alone or (about.apart and not apart) or (one_machine and "machines" in fixtures)
