"""Finds, signals and stops processes. A start time distinguishes a process from a later one with the same pid."""

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
    """A process. ``started``: its start in clock ticks since boot (``/proc/PID/stat``, field 22), 0 without /proc."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        return cls(pid, _stat(pid)[2])


def _stat(pid: int) -> tuple[str, int, int]:
    """State, parent and start time; ``("", 0, 0)`` if the process has ended or there is no /proc."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return "", 0, 0
    # The second field is the command in parentheses. It may contain spaces and ")", so split after the last ")".
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def is_alive(process: ProcessId) -> bool:
    """Whether this process still runs. False for a zombie and for another process with the same pid."""
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
    """All running descendants of ``roots``; empty without /proc."""
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
    """Send a signal to this process; do nothing if it has ended."""
    if is_alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def wait_gone(processes: Iterable[ProcessId], timeout_s: float) -> list[ProcessId]:
    """Poll until all have ended. Returns those that still run after ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    left = list(processes)
    while True:
        for process in left:
            exit_code(process.pid)  # reap it if it is a child of this process
        left = [process for process in left if is_alive(process)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def exit_code(pid: int) -> int | None:
    """The exit code of a child of this process, negative for a signal; ``None`` if it runs or is no child."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if done else None


def stop_all(roots: Iterable[ProcessId], patience_s: float) -> list[ProcessId]:
    """Send SIGTERM to each root, and after ``patience_s`` SIGKILL to the roots **and descendants** that still run.

    Returns the processes that had to be killed. The descendants are listed before the first signal, because a Machine
    or function whose parent has ended could not be found afterwards.
    """
    roots = list(roots)
    family = descendants(roots)
    for root in roots:
        send(root, signal.SIGTERM)
    left = wait_gone(roots, patience_s)
    orphans = [process for process in dict.fromkeys([*left, *family]) if is_alive(process)]
    # Some children end by themselves when their parent's pipe closes; give them 2 s.
    stuck = left + wait_gone([process for process in orphans if process not in left], 2.0)
    for process in stuck:
        send(process, signal.SIGKILL)
    wait_gone(stuck, 5.0)
    return stuck
