"""Rule 1: one write to a key at a time.

The write window has three settings. ``overlap``: a write is in flight from its headers to its answer. A range of
seconds such as ``0.3-1.4``: R2 takes that long, so the write counts as in flight that long for every other connection;
only the connection that received the answer knows that it is over. ``strict``: the documented limit, a second write
within one second is refused on any connection.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from parity.r2 import answers
from parity.r2.rules import Rulebook

STRICT_SECONDS = 1.0
# The upper limit of the setting, in seconds.
LONGEST = 3600.0
_RANGE = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class WriteWindow:
    """``low`` and ``high`` in seconds; ``strict`` holds for every connection."""

    low: float = 0.0
    high: float = 0.0
    strict: bool = False

    @classmethod
    def parse(cls, text: str) -> WriteWindow:
        """Raises ``ValueError`` for anything but ``overlap``, ``strict`` and ``low-high``, at most ``LONGEST``."""
        if text == "overlap":
            return cls()
        if text == "strict":
            return cls(STRICT_SECONDS, STRICT_SECONDS, strict=True)
        found = _RANGE.fullmatch(text)
        if not found or not float(found[1]) <= float(found[2]) <= LONGEST:
            raise ValueError(text)
        return cls(float(found[1]), float(found[2]))

    def __str__(self) -> str:
        if self.strict:
            return "strict"
        return f"{self.low:g}-{self.high:g}" if self.high else "overlap"


@dataclass(slots=True)
class _Write:
    connection: int
    until: float
    in_flight: bool


class Throttle:
    """``clock`` is in seconds and never goes back."""

    def __init__(self, window: WriteWindow, clock: Callable[[], float], chance: random.Random | None = None) -> None:
        self.window = window
        self._clock = clock
        self._chance = chance or random.Random()
        self._writes: dict[tuple[str, str], _Write] = {}
        self._sweep_at = 0.0

    def begin(self, bucket: str, key: str, connection: int, rules: Rulebook) -> None:
        """Raises rule 1. A write that began must ``end``."""
        now = self._clock()
        self._sweep(now)
        other = self._writes.get((bucket, key))
        if other is not None and self._blocks(other, connection, now):
            rules.refuse_if_on(answers.BUSY)
        until = now + self._chance.uniform(self.window.low, self.window.high)
        self._writes[bucket, key] = _Write(connection, until, in_flight=True)

    def _blocks(self, other: _Write, connection: int, now: float) -> bool:
        if other.in_flight:
            return True
        return now < other.until and (self.window.strict or other.connection != connection)

    def end(self, bucket: str, key: str) -> None:
        write = self._writes.get((bucket, key))
        if write is not None:
            write.in_flight = False
            if self._clock() >= write.until:
                del self._writes[bucket, key]

    def _sweep(self, now: float) -> None:
        """Remove expired windows from time to time, so that memory is bounded for any number of keys."""
        if now >= self._sweep_at:
            self._sweep_at = now + 10
            self._writes = {key: write for key, write in self._writes.items() if write.in_flight or write.until > now}
