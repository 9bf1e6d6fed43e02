"""An event loop without real time: the clock jumps to the next thing that is due, so a run is exact and quick."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Mapping

# Far more than happens in one moment of any run.
_STEPS_IN_A_MOMENT = 50_000


class Deadlock(RuntimeError):
    """The run would never end: everything waits and nothing is due, or the same moment or the run goes on for ever."""


class _NoSelector(selectors.BaseSelector):
    """Nothing ever becomes readable here; a wait moves the clock instead."""

    def __init__(self, longest: float) -> None:
        self.now = 0.0
        self._longest, self._steps = longest, 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("everything waits and nothing is due")
        self._steps = 0 if timeout > 0 else self._steps + 1
        if self._steps > _STEPS_IN_A_MOMENT:
            self._steps = 0
            raise Deadlock(f"tasks go on in turns without a pause at {self.now:.3f} s")
        self.now += max(0.0, timeout)
        if self.now > self._longest:
            raise Deadlock(f"the run goes on after {self._longest:.0f} s")
        return []

    def register(self, fileobj: object, events: int, data: object = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)  # type: ignore[arg-type]

    def unregister(self, fileobj: object) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)  # type: ignore[arg-type]

    def get_map(self) -> Mapping[int, selectors.SelectorKey]:  # type: ignore[override]
        return {}


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time()`` is virtual; what would hang raises ``Deadlock``, at the latest after ``longest`` virtual seconds."""

    def __init__(self, longest: float = math.inf) -> None:
        self._virtual = _NoSelector(longest)
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now
