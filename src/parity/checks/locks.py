"""The stack's lock. Most checks hold it shared; a check that stops or replaces what others use holds it exclusively.

It is a file lock (``flock``), so it works between the worker processes of pytest-xdist and between two runs, and the
kernel releases it when a process dies.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from parity.contract import Rate

# The shortest pause, in seconds, before another attempt.
LOOK_S = 0.02


@contextmanager
def stack_lock(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold the lock in ``folder``, exclusively with ``alone``. Waits without a timeout.

    A process that waits holds ``stack.turn``. Later processes queue behind it, so a process that wants the lock
    exclusively is not starved by those that share it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "stack.lock").open("w") as held:
        with (folder / "stack.turn").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            fcntl.flock(held, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def wait_for_room(folder: Path, rate: Rate, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until ``rate`` allows one more new person. All processes that use ``folder`` count together."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "people.json"
    while True:
        with (folder / "people.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now = time.time()
            made = [at for at in _times(file) if now - rate.per_s < at <= now]
            if len(made) < rate.count:
                file.write_text(json.dumps([*made, now]), "utf-8")
                return
            wait = made[0] + rate.per_s - now
        sleep(max(LOOK_S, wait))


def _times(file: Path) -> list[float]:
    try:
        return [float(at) for at in json.loads(file.read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return []  # no file yet, or a run was killed while it wrote the file
