"""The store's clock, read from the Date header of its answers.

A Machine's own clocks cannot be used: during a suspend the monotonic clock stands still, and the wall clock may be
wrong afterwards. After a resume a jump ahead is therefore normal, and looks the same as one answer with a wrong Date.
So a jump counts only when the answer to a later request confirms it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# Seconds by which agreeing answers may differ: slow answers arrive late, and Date has whole seconds.
_AGREE = 60.0


@dataclass(frozen=True)
class _Claim:
    """A date that only one answer gave. ``at`` is the monotonic time, ``number`` the number of the last request sent by
    then."""

    date: float
    at: float
    number: int


class StoreClock:
    """May be used from any thread. All times are unix seconds, 0 before the first answer."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._requests = 0
        self._sure = self._sure_at = 0.0
        self._claim: _Claim | None = None

    @property
    def newest(self) -> float:
        """The date of the newest answer, confirmed or not. It is never earlier than the true time of that answer."""
        claim = self._claim
        return max(self._sure, claim.date) if claim else self._sure

    @property
    def sure(self) -> float:
        """The newest confirmed date. It is never later than the true time."""
        return self._sure

    def ask(self) -> int:
        """Note that a request begins; returns its number."""
        with self._lock:
            self._requests += 1
            return self._requests

    def note(self, date: float, number: int) -> None:
        """Note the date of the answer to a request."""
        with self._lock:
            now, claim = self._monotonic(), self._claim
            later = claim is None or number > claim.number
            if self._sure and date <= self._sure + (now - self._sure_at) + _AGREE:
                if date > self._sure:
                    self._sure, self._sure_at = date, now
                if later:
                    self._claim = None
            elif claim and later and abs(date - claim.date - (now - claim.at)) <= _AGREE:
                self._sure, self._sure_at, self._claim = date, now, None
            elif claim is None or later or date > claim.date:
                self._claim = _Claim(date, now, self._requests)
