"""Decides which Machine a request goes to and which Machine to wake. Pure functions, without I/O.

Source: superfly/docs on Fly Proxy's load balancing and autostop/autostart, August 2026.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from parity.fly.edge.wish import Wish


class Phase(Enum):
    """What a Machine's state means for traffic."""

    READY = "ready"
    STARTING = "starting"  # starting, or its port is being tried
    LEAVING = "leaving"  # stopping or suspending
    ASLEEP = "asleep"  # stopped or suspended
    SILENT = "silent"  # started, but its port could not be reached
    FAILING = "failing"  # started, but a check fails
    GONE = "gone"


class Wait(Enum):
    """What a request waits for."""

    START = "start"
    CAPACITY = "capacity"


@dataclass(frozen=True, slots=True)
class View:
    """One Machine. ``load`` is the number of its requests (or connections) in flight.

    One that is not ``pooled`` gets only requests that a wish sends there, while there is one that is.
    """

    id: str
    phase: Phase
    load: int
    suspended: bool = False
    pooled: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """Exactly one of ``use`` (a Machine), ``wait``, or ``refuse`` (status and reason) is set.

    ``wake`` names a Machine to start in addition; it may accompany ``use`` and ``wait``.
    """

    use: str | None = None
    wake: str | None = None
    wait: Wait | None = None
    refuse: tuple[int, str] | None = None


def decide(
    views: Sequence[View], wish: Wish, *, soft: int, hard: int | None, autostart: bool, prefer_wakes: bool = True
) -> Decision:
    """Decide where one request goes now.

    With ``prefer_wakes``, a preferred Machine that is stopped is started, and the request waits for it.
    """
    if wish.nowhere is not None:
        return Decision(refuse=(502, f"PR01: there is no Machine in region {wish.nowhere}"))
    allowed = [v for v in views if v.phase is not Phase.GONE and v.id != wish.excluded]
    if wish.force is not None:
        allowed = [v for v in allowed if v.id == wish.force]
        if not allowed:
            return Decision(refuse=(502, f"PR01: there is no Machine {wish.force}"))
    if wish == Wish():
        allowed = [v for v in allowed if v.pooled] or allowed
    preferred = next((v for v in allowed if v.id == wish.prefer), None)
    if preferred is not None and prefer_wakes:
        if preferred.phase is Phase.STARTING:
            return Decision(wait=Wait.START)
        if preferred.phase is Phase.ASLEEP and autostart:
            return Decision(wake=preferred.id, wait=Wait.START)
    ready = [v for v in allowed if v.phase is Phase.READY]
    open_ones = [v for v in ready if hard is None or v.load < hard]
    starting = any(v.phase is Phase.STARTING for v in allowed)
    crowded = all(v.load >= soft for v in ready)
    wake = _to_wake(allowed) if autostart and crowded and not starting else None
    if open_ones:
        by_load = least_loaded(open_ones)
        chosen = preferred if preferred is not None and preferred in open_ones else by_load
        return Decision(use=chosen.id, wake=wake)
    if starting or wake is not None:
        return Decision(wake=wake, wait=Wait.START)
    if ready:
        return Decision(wait=Wait.CAPACITY)
    if autostart and any(v.phase is Phase.LEAVING for v in allowed):
        return Decision(wait=Wait.START)
    if any(v.phase is Phase.FAILING for v in allowed):
        return Decision(refuse=(503, "PR03: no Machine passes its checks"))
    return Decision(refuse=(503, "PR03: no Machine is started, and auto_start_machines does not allow to start one"))


def least_loaded(views: Sequence[View]) -> View:
    """The Machine with the least load. Ties are broken at random, because Fly documents no order."""
    least = min(view.load for view in views)
    return random.choice([view for view in views if view.load == least])


def _to_wake(views: Sequence[View]) -> str | None:
    """The Machine to wake: one whose port did not answer first, then a suspended one, then a stopped one."""
    asleep = [v for v in views if v.phase in (Phase.ASLEEP, Phase.SILENT)]
    if not asleep:
        return None
    return min(asleep, key=lambda v: (v.phase is Phase.ASLEEP, not v.suspended)).id


@dataclass(frozen=True, slots=True)
class Use:
    """A started Machine at an autostop check. ``used``: it had a request since the last check."""

    id: str
    load: int
    used: bool


def excess(machines: Sequence[Use], *, soft: int, minimum: int) -> str | None:
    """The id of the Machine that an autostop check stops, or None.

    Fly's rule for several running Machines: one stops if ``machines - (machines over the soft limit + 1) >= 1``, even
    if it has requests. A single Machine stops only if it has no load and had none since the last check. Fly does not
    document which of several Machines stops; this stand-in takes the one with the least load.
    """
    if len(machines) <= minimum:
        return None
    if len(machines) == 1:
        only = machines[0]
        return None if only.load or only.used else only.id
    over = sum(machine.load > soft for machine in machines)
    if len(machines) - (over + 1) < 1:
        return None
    return min(machines, key=lambda m: (m.load, m.used)).id
