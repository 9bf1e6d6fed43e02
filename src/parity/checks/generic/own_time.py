"""Whether a Machine is slow by itself, or because the host that runs the checks is busy.

The edge tries to reach a Machine's port for some seconds after a start. On Fly the Machine has a CPU of its own in this
time; here it shares those of the host with everything else, and may get none of them for long. The kernel counts how
long a process was ready to run and had no CPU (``schedstat``), so that this time can be left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from parity.checks.generic.support import POLL_S
from parity.checks.machines import Machines
from parity.checks.stack import Stack
from parity.report.engine import Engine, EngineError

SCHEDSTATS = ["sh", "-c", "cat /proc/[0-9]*/schedstat"]


async def opened_in_its_own_time(machines: Machines, machine: str) -> bool:
    """Whether the edge gave up on this Machine since its last start, only because the host is busy.

    So it is where the port opens before the Machine has had as many seconds as the edge tried; the seconds in which it
    waited for a CPU do not count. Returns as soon as that is known.
    """
    while True:
        seen = await machines.get(machine)
        started, gave_up = last_start(seen["events"])
        if gave_up is None:
            return False
        waited_s = await asyncio.to_thread(waited_for_cpu, machines.stack, machine)
        ended = next((one["time"] for one in seen["events"] if one["time"] > gave_up and one.get("open")), time.time())
        if seen["state"] != "started" or ended - started - waited_s > gave_up - started:
            return False
        if seen["port"] == "open":
            return True
        await asyncio.sleep(POLL_S)


def last_start(events: Iterable[dict[str, Any]]) -> tuple[float, float | None]:
    """When the Machine started last, and when the edge gave up on it since then; None where it did not."""
    started, gave_up = 0.0, None
    for event in events:
        if event["type"] == "started":
            started, gave_up = event["time"], None
        elif event["type"] == "port" and not event["open"] and gave_up is None:
            gave_up = event["time"]
    return started, gave_up


def waited_for_cpu(stack: Stack, machine: str) -> float:
    """For how many seconds the Machine's process was ready to run and had no CPU; of several, the one that waited most.

    0 where that cannot be read.
    """
    found = _in_container(machine) if stack.target.driver == "docker" else _of_processes(machine)
    return max((int(waited) / 1e9 for _, waited, _ in map(str.split, found)), default=0.0)


def processes_of(machine: str) -> Iterator[Path]:
    """The folder in /proc of each process of a Machine of the process driver."""
    wanted = f"FLY_MACHINE_ID={machine}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                yield process


def _of_processes(machine: str) -> list[str]:
    found = []
    for process in processes_of(machine):
        with contextlib.suppress(OSError):
            found.append((process / "schedstat").read_text("utf-8"))
    return found


def _in_container(machine: str) -> list[str]:
    engine = Engine()
    try:
        _, said = engine.execute(engine.container_of(machine), SCHEDSTATS)
    except EngineError:
        return []
    # Other lines are errors, such as of a process that has just ended.
    return [line for line in said.splitlines() if len(line.split()) == 3 and line.replace(" ", "").isdigit()]
