"""How a release replaces the one before it: the strategies of ``[deploy]`` (superfly/docs, November 2026).

rolling: some Machines at a time, each under its id, waited for until healthy. immediate: all at once, not waited for.
canary: one more Machine first, then rolling. bluegreen: as many new Machines beside the old ones, without traffic until
all are healthy; then they take over and the old ones are destroyed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from parity.fly.machines.machine import Machine

STRATEGIES = ("rolling", "immediate", "canary", "bluegreen")


class Steps(Protocol):
    """What a strategy does with Machines; everything raises ``DriverError``, ``WrongState`` or ``ReleaseFailed``."""

    def existing(self) -> list[Machine]:
        """The Machines of the release before."""

    async def replace(self, machine: Machine) -> None:
        """Start the new release under the Machine's id."""

    async def healthy(self, machine: Machine) -> None:
        """Returns once the Machine is healthy."""

    async def add(self, *, cordoned: bool) -> Machine:
        """One more Machine of the new release; a cordoned one gets no traffic."""

    async def destroy(self, machine: Machine) -> None: ...
    def uncordon(self, machine: Machine) -> None: ...


def at_a_time(max_unavailable: float, count: int) -> int:
    """How many of ``count`` Machines a rolling release replaces at once: a number from 1, or a fraction of all."""
    wanted = int(max_unavailable) if max_unavailable >= 1 else int(max_unavailable * count)
    return max(1, min(count, wanted))


async def roll_out(steps: Steps, strategy: str, max_unavailable: float) -> None:
    """Put the new release in force. After a failure the Machines are left as Fly leaves them."""
    if strategy == "bluegreen":
        await _blue_green(steps)
        return
    if strategy == "immediate":
        await _together([steps.replace(machine) for machine in steps.existing()])
        return
    if strategy == "canary":
        await _canary(steps)
    machines = steps.existing()
    step = at_a_time(max_unavailable, len(machines)) if machines else 1
    for first in range(0, len(machines), step):
        batch = machines[first : first + step]
        await _together([_replaced(steps, machine) for machine in batch])


async def _replaced(steps: Steps, machine: Machine) -> None:
    await steps.replace(machine)
    await steps.healthy(machine)


async def _canary(steps: Steps) -> None:
    canary = await steps.add(cordoned=False)
    try:
        await steps.healthy(canary)
    finally:
        await steps.destroy(canary)


async def _blue_green(steps: Steps) -> None:
    blue = steps.existing()
    green: list[Machine] = []
    try:
        for _ in blue:
            green.append(await steps.add(cordoned=True))
        await _together([steps.healthy(machine) for machine in green])
    except BaseException:
        for machine in green:
            await steps.destroy(machine)
        raise
    for machine in green:
        steps.uncordon(machine)
    for machine in blue:
        await steps.destroy(machine)


async def _together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all to their end; raises the first error afterwards."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
