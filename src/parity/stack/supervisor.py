"""Starts the parts of a plan, waits until all are healthy, and stops them. If one fails, all are stopped."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from parity.stack.errors import PartFailed
from parity.stack.plan import Part
from parity.stack.processes import ProcessId, exit_code, stop_all
from parity.stack.state import PartState, StackState, forget_state, read_state, write_state
from parity.stack.unwell import unwell_machines, watched

# How long parts may take to stop, in seconds. The Fly stand-in stops its Machines concurrently and waits for each at
# most fly.toml's kill_timeout (30 s here).
PATIENCE_S = 40.0
_POLL_S = 0.1
_TAIL_LINES = 15

Say = Callable[[str], None]


def spawn(part: Part, log: Path) -> int:
    """Start a part in its own session, so that Ctrl-C in the terminal does not reach it. Its output goes to ``log``.

    Returns its pid.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file, Path(os.devnull).open("rb") as nothing:
        child = subprocess.Popen(
            part.argv,
            env=dict(part.env),
            cwd=part.cwd,
            stdin=nothing,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # Popen warns when a running child is garbage-collected. This child outlives this process, so prevent the warning.
    child.returncode = 0
    return child.pid


def start(
    parts: Sequence[Part], state_dir: Path, settings: Mapping[str, str], timeout_s: float, say: Say
) -> StackState:
    """Start every part and return when all are healthy.

    The state is written before the wait, so that ``down`` finds every process even if ``up`` is killed. If a part ends,
    or is not healthy within ``timeout_s`` seconds, all are stopped and ``PartFailed`` has the part's last log lines.
    All are stopped after Ctrl-C, too.
    """
    running: list[tuple[Part, int, Path]] = []
    try:
        for part in parts:
            log = state_dir / "logs" / f"{part.name}.log"
            running.append((part, spawn(part, log), log))
            write_state(state_dir, _state(running, settings, ready=False))
        with ExitStack() as meanwhile:
            for part in (part for part in parts if part.name == "fly"):
                meanwhile.enter_context(watched(_admin_url(part), say))
            _wait_healthy(running, timeout_s, say)
        state = _state(running, settings, ready=True)
        write_state(state_dir, state)
    except BaseException:  # also after Ctrl-C
        stop_all([ProcessId.of(pid) for _, pid, _ in running], PATIENCE_S)
        forget_state(state_dir)
        raise
    return state


def stop(state_dir: Path, patience_s: float = PATIENCE_S) -> tuple[str, ...]:
    """Stop the processes of the state file and remove the file. Returns the names of the parts that ran."""
    state = read_state(state_dir)
    if state is None:
        return ()
    alive = state.alive
    stop_all([part.process for part in alive], patience_s)
    forget_state(state_dir)
    return tuple(part.name for part in alive)


def is_healthy(url: str, timeout_s: float = 2.0) -> bool:
    """Whether ``url`` answers 200 now."""
    import httpx  # here, because only the commands that start or watch processes need it

    try:
        return httpx.get(url, timeout=timeout_s, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def tail(log: Path, lines: int = _TAIL_LINES) -> list[str]:
    """The last lines of a log; empty if there is no file."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16384))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def _state(running: Sequence[tuple[Part, int, Path]], settings: Mapping[str, str], *, ready: bool) -> StackState:
    parts = tuple(PartState(part.name, ProcessId.of(pid), part.health_url, str(log)) for part, pid, log in running)
    return StackState(dict(settings), parts, ready)


def _wait_healthy(running: Sequence[tuple[Part, int, Path]], timeout_s: float, say: Say) -> None:
    begin = time.monotonic()
    waiting = list(running)
    while waiting:
        for part, pid, log in running:
            code = exit_code(pid)
            if code is not None:
                how = f"exit code {code}" if code >= 0 else f"signal {-code}"
                raise _failure(part, log, f"{part.name} ended with {how} after {time.monotonic() - begin:.1f} s")
        for entry in list(waiting):
            if is_healthy(entry[0].health_url):
                waiting.remove(entry)
                say(f"{entry[0].name} is healthy ({time.monotonic() - begin:.1f} s)")
        if waiting and time.monotonic() - begin > timeout_s:
            part, _, log = waiting[0]
            others = f" (nor were {', '.join(p.name for p, _, _ in waiting[1:])})" if waiting[1:] else ""
            what = f"{part.name} was not healthy after {timeout_s:.0f} s{others}: {part.health_url}"
            raise _failure(part, log, what)
        time.sleep(_POLL_S)


def _admin_url(fly: Part) -> str:
    return fly.health_url.removesuffix("/fly/healthz")


def _failure(part: Part, log: Path, what: str) -> PartFailed:
    lines = tail(log)
    if part.name == "fly":  # the usual cause is a Machine of the app
        lines += unwell_machines(_admin_url(part))
    shown = "".join(f"\n    {line}" for line in lines) if lines else " (empty)"
    return PartFailed(
        f"{what}\n  last lines of {log}:{shown}\n  everything that had been started was stopped again", part.first_aid
    )
