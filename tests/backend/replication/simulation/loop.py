"""An event loop without real time: the clock jumps to the next thing that is due, so a run is exact and quick."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping


class Deadlock(RuntimeError):
    """Everything waits, and nothing is due."""


class _NoSelector(selectors.BaseSelector):
    """Nothing ever becomes readable here; a wait moves the clock instead."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("everything waits and nothing is due")
        self.now += max(0.0, timeout)
        return []

    def register(self, fileobj: object, events: int, data: object = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)  # type: ignore[arg-type]

    def unregister(self, fileobj: object) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)  # type: ignore[arg-type]

    def get_map(self) -> Mapping[int, selectors.SelectorKey]:  # type: ignore[override]
        return {}


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time()`` is virtual; a deadlock raises ``Deadlock`` instead of hanging."""

    def __init__(self) -> None:
        self._virtual = _NoSelector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now
