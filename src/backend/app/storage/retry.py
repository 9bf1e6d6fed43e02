"""The one retry policy for calls to R2; botocore's own is off, so that every try is counted here."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from app.storage.interface import StorageUnavailable

T = TypeVar("T")
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 8.0


class TryAgain(Exception):
    """A call failed in a way that may pass; `after` is how long the other side asked to wait, in seconds."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        self.after = after
        super().__init__(reason)


@dataclass(frozen=True)
class Policy:
    """At most `attempts` tries within `seconds`; the clock, the sleep and the dice are given for tests."""

    attempts: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[float, float], float] = random.uniform

    def run(self, work: Callable[[int], T]) -> T:
        """Calls `work(number of the try)`, 1 first, until it does not raise `TryAgain`.

        Raises `StorageUnavailable` when tries or time run out; a wait that would outlast the time is not begun.
        """
        end = self.clock() + self.seconds
        for attempt in range(1, self.attempts + 1):
            try:
                return work(attempt)
            except TryAgain as failure:
                wait = self.delay(attempt, failure.after)
                if attempt == self.attempts or self.clock() + wait >= end:
                    raise StorageUnavailable(f"{failure} (tried {attempt} times)") from failure
                self.sleep(wait)
        raise StorageUnavailable("no try was allowed")

    def delay(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next try: what was asked for, else doubling, in both cases with jitter."""
        if asked is not None:
            return asked + self.jitter(0, 0.5)
        most = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (attempt - 1))
        return self.jitter(most / 2, most)
