"""Processes by number, told apart from later ones that got the same number."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessId:
    """A process; ``started`` is its start in clock ticks since boot (``/proc/PID/stat`` field 22), 0 without /proc."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        return cls(pid, _stat(pid)[2])


def _stat(pid: int) -> tuple[str, int, int]:
    """State, parent and start time; ``("", 0, 0)`` for one that is gone or where there is no /proc."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return "", 0, 0
    # The second field is the command in parentheses and may hold anything, so count from the last one.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def is_alive(process: ProcessId) -> bool:
    """Whether that very process still runs; a zombie does not."""
    if process.started == 0:
        try:
            os.kill(process.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True
    state, _, started = _stat(process.pid)
    return started == process.started and state not in ("Z", "X", "")


def descendants(roots: Iterable[ProcessId]) -> list[ProcessId]:
    """Children, grandchildren, … of ``roots`` that run now; empty without /proc."""
    if not _PROC.is_dir():
        return []
    parents: dict[int, list[ProcessId]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            _, parent, started = _stat(int(folder.name))
            parents.setdefault(parent, []).append(ProcessId(int(folder.name), started))
    found: list[ProcessId] = []
    queue = [root.pid for root in roots if is_alive(root)]
    while queue:
        children = parents.pop(queue.pop(), [])
        found.extend(children)
        queue.extend(child.pid for child in children)
    return found


def send(process: ProcessId, number: signal.Signals) -> None:
    """Signal that very process; nothing happens when it is gone."""
    if is_alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def wait_gone(processes: Iterable[ProcessId], timeout_s: float) -> list[ProcessId]:
    """Poll until none of them runs; returns those that still do after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    left = list(processes)
    while True:
        for process in left:
            exit_code(process.pid)  # a child of ours would stay a zombie
        left = [process for process in left if is_alive(process)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def exit_code(pid: int) -> int | None:
    """How a child of ours ended (a signal is negative); ``None`` while it runs and for others' children."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if done else None


def stop_all(roots: Iterable[ProcessId], patience_s: float) -> list[ProcessId]:
    """Ask each root to end, then end by force what is left of them **and of what they had started**.

    Returns what had to be killed. Descendants are noted first: a Machine or function that its parent left behind is
    found by that, in whatever session it runs.
    """
    roots = list(roots)
    family = descendants(roots)
    for root in roots:
        send(root, signal.SIGTERM)
    left = wait_gone(roots, patience_s)
    orphans = [process for process in dict.fromkeys([*left, *family]) if is_alive(process)]
    # Children that get the end of their parents told (a pipe closed) need a moment before they count as left behind.
    stuck = left + wait_gone([process for process in orphans if process not in left], 2.0)
    for process in stuck:
        send(process, signal.SIGKILL)
    wait_gone(stuck, 5.0)
    return stuck
