"""The states of a Machine with the names of Fly's Machines API, and the allowed transitions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """One of a Machine's states."""

    CREATED = "created"
    STARTING = "starting"
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    DESTROYED = "destroyed"


# The allowed next states. A running Machine can always exit: started → stopped.
FOLLOWS: dict[State, frozenset[State]] = {
    State.CREATED: frozenset({State.STARTING, State.DESTROYED}),
    State.STARTING: frozenset({State.STARTED, State.STOPPED}),
    State.STARTED: frozenset({State.STOPPING, State.SUSPENDING, State.STOPPED}),
    State.STOPPING: frozenset({State.STOPPED}),
    State.STOPPED: frozenset({State.STARTING, State.DESTROYED}),
    State.SUSPENDING: frozenset({State.SUSPENDED, State.STOPPED}),
    State.SUSPENDED: frozenset({State.STARTING, State.STOPPING, State.STOPPED}),
    State.DESTROYED: frozenset(),
}

EVENTS_KEPT = 100


class WrongState(Exception):
    """The operation is not possible in the Machine's state."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a Machine; ``time`` in Unix seconds."""

    time: float
    type: str
    detail: dict[str, object]


@dataclass
class Lifecycle:
    """A Machine's state with its history; ``changed`` is called after each change."""

    changed: Callable[[], None]
    state: State = State.CREATED
    since: float = field(default_factory=time.time)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))

    def move(self, to: State, **detail: object) -> None:
        """Change the state. Raises ``WrongState`` if the transition is not allowed."""
        if to not in FOLLOWS[self.state]:
            raise WrongState(f"the Machine is {self.state}: it cannot become {to}")
        self.state, self.since = to, time.time()
        self.note(str(to), **detail)
        self.changed()

    def note(self, kind: str, **detail: object) -> None:
        """Add an event that changes no state."""
        self.events.append(Event(time.time(), kind, detail))
