"""The deploy strategies of ``[deploy] strategy`` (superfly/docs, November 2026).

- rolling: replaces some Machines at a time; each keeps its id and must become healthy before the next ones.
- immediate: replaces all Machines at once and waits for none.
- canary: first creates one extra Machine; if it becomes healthy it is destroyed, and a rolling deploy follows.
- bluegreen: creates as many new Machines as there are old ones. The new ones get no traffic until all are healthy; then
  they take over and the old ones are destroyed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from parity.fly.machines.machine import Machine

STRATEGIES = ("rolling", "immediate", "canary", "bluegreen")


class Steps(Protocol):
    """The operations of a strategy. Each may raise ``DriverError``, ``WrongState`` or ``ReleaseFailed``."""

    def existing(self) -> list[Machine]:
        """The Machines of the previous release."""

    async def replace(self, machine: Machine) -> None:
        """Restart the Machine with the new release. It keeps its id."""

    async def healthy(self, machine: Machine) -> None:
        """Wait until the Machine is healthy."""

    async def add(self, *, cordoned: bool) -> Machine:
        """Create a Machine of the new release. A cordoned one gets no traffic."""

    async def destroy(self, machine: Machine) -> None: ...
    def uncordon(self, machine: Machine) -> None: ...


def at_a_time(max_unavailable: float, count: int) -> int:
    """How many of ``count`` Machines a rolling deploy replaces at once.

    A ``max_unavailable`` of 1 or more is a number of Machines; below 1 it is a fraction of all.
    """
    wanted = int(max_unavailable) if max_unavailable >= 1 else int(max_unavailable * count)
    return max(1, min(count, wanted))


async def roll_out(steps: Steps, strategy: str, max_unavailable: float) -> None:
    """Deploy the new release with ``strategy``. After a failure the Machines are left in the state that Fly leaves."""
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
    """Run all concurrently and wait for all; then raise the first error, if there was one."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
