"""Raises one exception for Ctrl-C, SIGTERM and SIGHUP: child processes end and temporary folders are removed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked the promotion to stop. Not an ``Exception``, so that no handler takes it for a failed step."""

    def __init__(self, name: str) -> None:
        self.signal = name
        super().__init__(name)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise ``Interrupted`` for the first signal. Later signals are ignored during the cleanup."""

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
