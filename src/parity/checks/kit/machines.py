"""More than one Machine at once, as during a deploy or when one that was forgotten wakes up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parity.checks.kit.admin import Admin
from parity.checks.model import Unobservable

# The edge sends a request that carries it to that Machine alone, and wakes it for it.
PINNED = "Fly-Force-Instance-Id"


async def first_machine(admin: Admin) -> str:
    """A Machine that is there."""
    found = [machine["id"] for machine in await admin.machines()]
    if not found:
        raise Unobservable("there is no Machine")
    return str(found[0])


@asynccontextmanager
async def one_more(admin: Admin) -> AsyncIterator[str]:
    """One more Machine of the current release, with an empty disk; destroyed afterwards."""
    made = str((await admin.call("POST", "/fly/machines"))["id"])
    try:
        yield made
    finally:
        await admin.call("POST", f"/fly/machines/{made}/destroy", timeout_s=90)


class Patience:
    """A deadline to poll against; ``spent`` is how long it took so far, in seconds."""

    def __init__(self, seconds: float) -> None:
        self._began, self._seconds = time.monotonic(), seconds

    @property
    def spent(self) -> float:
        return time.monotonic() - self._began

    @property
    def over(self) -> bool:
        return self.spent > self._seconds
