"""The objects that all exchanges of an edge share, and the interface of the gate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from parity.config.fly_toml import FlyConfig
from parity.fly.edge.headers import Headers
from parity.fly.edge.kept_body import Budget
from parity.fly.edge.log import RequestLog
from parity.fly.edge.replay_cache import ReplayCache
from parity.fly.edge.upstream import Pool
from parity.fly.edge.wish import Wish
from parity.fly.settings import FlySettings

if TYPE_CHECKING:
    from parity.fly.edge.exchange import Exchange


class Target(Protocol):
    """A Machine as the edge sees it."""

    @property
    def id(self) -> str: ...
    @property
    def address(self) -> tuple[str, int] | None: ...


class Waiter(Protocol):
    """A request that waits for a Machine."""

    @property
    def wish(self) -> Wish: ...
    @property
    def websocket(self) -> bool: ...
    def assigned(self, target: Target) -> None:
        """Called with the Machine to use. The exchange must call ``Gate.release`` when it has ended."""

    def refused(self, status: int, reason: str) -> None:
        """Called with a status and a reason if the request gets no Machine."""


class Interposed(Protocol):
    """Finds the address to connect to for a Machine, which may be that of a proxy."""

    async def address(self, machine: tuple[str, int], *, websocket: bool) -> tuple[str, int]: ...


class Straight:
    """Connects directly to the Machine."""

    async def address(self, machine: tuple[str, int], *, websocket: bool) -> tuple[str, int]:  # noqa: ARG002
        return machine


class Gate(Protocol):
    """Holds requests until a Machine can take them."""

    def acquire(self, waiter: Waiter) -> None: ...
    def cancel(self, waiter: Waiter) -> None: ...
    def release(self, target: Target, *, websocket: bool) -> None: ...
    def unreachable(self, target: Target) -> None: ...


def configured_headers(config: FlyConfig) -> Headers:
    """``http_options.response.headers`` as a list; an empty value means: remove."""
    found: Headers = []
    for name, value in config.service.http_options.response.headers.items():
        if isinstance(value, bool):
            found += [] if value else [(name.encode(), b"")]
        else:
            found += [(name.encode(), item.encode()) for item in (value if isinstance(value, list) else [value])]
    return found


@dataclass(slots=True)
class EdgeContext:
    """One app's edge. While ``paused``, because a debugger is attached, its timeouts do not expire."""

    config: FlyConfig
    settings: FlySettings
    gate: Gate
    pool: Pool
    interposed: Interposed = field(default_factory=Straight)
    paused: Callable[[], bool] = lambda: False
    log: RequestLog = field(default_factory=RequestLog)
    budget: Budget = field(default_factory=Budget)
    live: set[Exchange] = field(default_factory=set)
    response_headers: Headers = field(init=False)
    replay_cache: ReplayCache = field(init=False)

    def __post_init__(self) -> None:
        self.replay_cache = ReplayCache(self.config.service.http_options.replay_cache, time.monotonic)
        self.response_headers = configured_headers(self.config)

    @property
    def region(self) -> str:
        return self.config.primary_region

    def goaway(self, machine: str, code: int) -> None:
        """Close each WebSocket of a Machine that is about to stop, between two frames."""
        for exchange in list(self.live):
            exchange.goaway(machine, code)
