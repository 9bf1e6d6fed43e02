"""Finds out whether checks that stop Machines or make R2 fail can run concurrently (``apart`` of the mark).

They can if a fault on the keys of one person affects all R2 requests of that person and none of another person, and if
several Machines may serve at once. The contract does not contain this, so it is tried once per run. If it is not true
or cannot be found out, these checks run one after the other; the results are the same, but take longer.
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
    """Whether all R2 requests of two new people, who write and read, stay below a separate prefix for each.

    Call it while nothing else uses the stack. Raises ``StackError``.
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

    If the app may only have one Machine, a check that uses ``machines`` replaces the Machine that all other checks use,
    and their requests would get 502.
    """
    if about is None:
        return False
    return about.alone or (about.apart and not apart) or (one_machine and "machines" in fixtures)
