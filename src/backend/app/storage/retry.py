"""The only retry policy, for calls to R2 and for operations that consist of several calls. botocore's own retries are
off."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.storage.interface import StorageUnavailable


class TryAgain(Exception):
    """A call failed with an error for which a retry makes sense. `after` is the server's Retry-After in seconds."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        self.after = after
        super().__init__(reason)


@dataclass(frozen=True)
class Policy:
    """At most `attempts` tries within `seconds`. The waits between tries double from `first` to `longest` seconds, with
    jitter; tests pass their own `jitter`."""

    attempts: int
    seconds: float = math.inf
    first: float = 0.1
    longest: float = 8.0
    jitter: Callable[[float, float], float] = random.uniform

    def wait(self, attempt: int, failure: TryAgain, left: float) -> float:
        """Seconds before the try that follows the failed number `attempt`, 1 first.

        Raises `StorageUnavailable` after the last try, and where the wait would outlast the `left` seconds.
        """
        wait = self._delay(attempt) if failure.after is None else failure.after + self.jitter(0, 0.5)
        if attempt >= self.attempts or wait >= left:
            raise StorageUnavailable(f"{failure} (tried {attempt} times)") from failure
        return wait

    def waits(self) -> Iterator[float]:
        """The waits between the attempts, without Retry-After; one fewer than attempts."""
        return map(self._delay, range(1, self.attempts))

    def _delay(self, attempt: int) -> float:
        most = min(self.longest, self.first * 2.0 ** (attempt - 1))
        return self.jitter(most / 2, most)
