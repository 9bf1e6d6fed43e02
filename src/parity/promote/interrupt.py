"""Ctrl-C, SIGTERM and SIGHUP as one exception, so that children end and private folders go."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked the promotion to stop. Not an ``Exception``: nothing may take it for a failed step."""

    def __init__(self, name: str) -> None:
        self.signal = name
        super().__init__(name)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise ``Interrupted`` for the first signal; later ones are ignored while the promotion tidies up."""

    def stop(number: int, _frame: FrameType | None) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
