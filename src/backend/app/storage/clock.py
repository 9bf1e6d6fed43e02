"""The store's clock, as the Date of its answers shows it.

A Machine's own clocks are no measure: in a suspend the monotonic one stands still and the wall clock may be wrong. So
after a resume a jump ahead is normal, and cannot be told from one answer with a wrong Date: a second answer must say
the same that was asked for later.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# How far answers may be apart that agree: slow ones come late, and Date has whole seconds.
_AGREE = 60.0


@dataclass(frozen=True)
class _Claim:
    """A date that only one answer gave; ``at`` by the monotonic clock, ``number`` that of the last request by then."""

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
        """The newest answer's date, though it may be the only one that says so: no less than the true one then."""
        claim = self._claim
        return max(self._sure, claim.date) if claim else self._sure

    @property
    def sure(self) -> float:
        """The newest date that is confirmed: no more than the true one."""
        return self._sure

    def ask(self) -> int:
        """A request begins; its number."""
        with self._lock:
            self._requests += 1
            return self._requests

    def note(self, date: float, number: int) -> None:
        """The answer to a request has this date."""
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
