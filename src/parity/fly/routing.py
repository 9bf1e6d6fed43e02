"""Which Machine a request goes to, and which one is woken for it. Pure decisions.

Facts: superfly/docs on Fly Proxy's load balancing and autostop/autostart, August 2026.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from parity.fly.edge.wish import Wish


class Phase(Enum):
    """A Machine as the gate sees it."""

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
    """One Machine; ``load`` is what is in flight."""

    id: str
    phase: Phase
    load: int
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """``use`` a Machine, or ``wait``, or ``refuse`` with a status and a reason; ``wake`` one in any case."""

    use: str | None = None
    wake: str | None = None
    wait: Wait | None = None
    refuse: tuple[int, str] | None = None


def decide(
    views: Sequence[View], wish: Wish, *, soft: int, hard: int | None, autostart: bool, prefer_wakes: bool = True
) -> Decision:
    """Where one request goes now. ``prefer_wakes``: a preferred Machine that sleeps is started and waited for."""
    if wish.nowhere is not None:
        return Decision(refuse=(502, f"PR01: there is no Machine in region {wish.nowhere}"))
    allowed = [v for v in views if v.phase is not Phase.GONE and v.id != wish.excluded]
    if wish.force is not None:
        allowed = [v for v in allowed if v.id == wish.force]
        if not allowed:
            return Decision(refuse=(502, f"PR01: there is no Machine {wish.force}"))
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
    return Decision(refuse=(503, "PR03: no Machine is started and none may be"))


def least_loaded(views: Sequence[View]) -> View:
    """The Machine with the least load; among equals any, as Fly gives no order."""
    least = min(view.load for view in views)
    return random.choice([view for view in views if view.load == least])


def _to_wake(views: Sequence[View]) -> str | None:
    """A silent one is tried again; else a suspended one before a stopped one."""
    asleep = [v for v in views if v.phase in (Phase.ASLEEP, Phase.SILENT)]
    if not asleep:
        return None
    return min(asleep, key=lambda v: (v.phase is Phase.ASLEEP, not v.suspended)).id


@dataclass(frozen=True, slots=True)
class Use:
    """A started Machine at an autostop check: its load, and whether anything used it since the last check."""

    id: str
    load: int
    used: bool


def excess(machines: Sequence[Use], *, soft: int, minimum: int) -> str | None:
    """The one Machine that an autostop check stops, or None.

    Fly's formula: with several running, ``machines - (machines over soft limit + 1) >= 1``, whatever their load; one
    alone stops only at zero load, unused since the last check. Which one of several goes is not documented: here the
    one with the least load.
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
