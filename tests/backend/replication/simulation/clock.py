"""A Machine's clocks: the monotonic one stands still while the Machine is frozen, the wall clock may jump."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class _Piece:
    """From moment ``at`` of the loop the clock shows ``local`` and runs on, or stands there."""

    at: float
    local: float
    runs: bool


class Clock:
    """In step with the loop's time until it is stopped."""

    def __init__(self) -> None:
        now = asyncio.get_running_loop().time()
        self._pieces = [_Piece(now, now, runs=True)]

    def now(self) -> float:
        last, loop = self._pieces[-1], asyncio.get_running_loop()
        return last.local + (loop.time() - last.at if last.runs else 0.0)

    @property
    def runs(self) -> bool:
        return self._pieces[-1].runs

    def stop(self) -> None:
        self._go_on(self.now(), runs=False)

    def start(self) -> None:
        self._go_on(self.now(), runs=True)

    def leap(self, seconds: float) -> None:
        """Time passed in which nothing happened. A clock that stands still stays where it is."""
        if self.runs:
            self._go_on(self.now() + seconds, runs=True)

    def when(self, local: float) -> float:
        """The first moment of the loop at which the clock showed ``local`` or more."""
        first = self._pieces[0]
        if local <= first.local:
            return first.at - (first.local - local)
        for piece, following in zip(self._pieces, [*self._pieces[1:], None], strict=True):
            if local <= piece.local:
                return piece.at
            reached = piece.at + (local - piece.local)
            if piece.runs and (following is None or reached < following.at):
                return reached
        return asyncio.get_running_loop().time()

    def _go_on(self, local: float, *, runs: bool) -> None:
        self._pieces.append(_Piece(asyncio.get_running_loop().time(), local, runs))


class WallClock:
    """The loop's time and an error, which changes where the clock is set."""

    def __init__(self, error: float) -> None:
        self._errors = [(0.0, error)]

    def now(self) -> float:
        return asyncio.get_running_loop().time() + self._errors[-1][1]

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock forward, or back."""
        self._errors.append((asyncio.get_running_loop().time(), self._errors[-1][1] + seconds))

    def first_within(self, seconds: float, since: float) -> float:
        """The first moment of the loop from ``since`` on of which this clock says now that it is less than ``seconds``
        ago, and no moment to come. Now, where there is none."""
        loop, shows = asyncio.get_running_loop().time(), self.now()
        for (begins, error), (ends, _) in zip(self._errors, [*self._errors[1:], (loop, 0.0)], strict=True):
            first = max(begins, since, shows - seconds - error)
            if first <= min(ends, shows - error):
                return first
        return loop
