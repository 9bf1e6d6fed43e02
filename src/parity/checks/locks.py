"""The stack's lock: checks that only add to it share it, those that stop or replace what others use hold it alone.

A lock of the file system, so that it holds between the worker processes of pytest-xdist and between two runs; the
kernel gives it back when a process dies.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from parity.contract import Rate

# Between two looks at a lock that is held, in seconds.
LOOK_S = 0.02


@contextmanager
def stack_lock(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold the lock in ``folder``; waits as long as it takes.

    ``turn`` is held while waiting, so that one who wants the stack alone is not overtaken for ever by those who share.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "stack.lock").open("w") as held:
        with (folder / "stack.turn").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            fcntl.flock(held, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def wait_for_room(folder: Path, rate: Rate, sleep: Callable[[float], None] = time.sleep) -> None:
    """Return when one more person may be made under ``rate``; counts for all processes that share ``folder``."""
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
        return []  # none yet, or a run that was killed while it wrote
