"""The app under Fly's quota for shared CPUs.

Fly grants an idle shared CPU five seconds of full speed after a start, and a sixteenth of a CPU once they are used.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parity.checks import Wrap, check
from parity.checks.generic.own_time import processes_of
from parity.checks.generic.support import PATIENCE_S, not_declared, probed
from parity.checks.generic.test_boot import opened
from parity.checks.machines import Machines
from parity.checks.person import Attempt, Person, missing
from parity.checks.stack import Site, Stack
from parity.checks.verdict import NotShown
from parity.report.engine import Engine, EngineError
from parity.wraps import boot

# Seconds of full speed that an idle shared CPU has saved up; its baseline is 6.25 % (Fly's docs on CPU, 2026).
BURST_S = 5.0
# How many writes one person's page may send at once.
WRITES = 4


def shared(site: Site) -> int:
    """How many shared CPUs a Machine has. Raises ``NotDeclared`` for performance CPUs, which Fly never throttles."""
    vm = site.project.fly.machine
    if vm.cpu_kind != "shared":
        not_declared("fly.toml asks for performance CPUs, which Fly does not throttle")
    return vm.cpus


@asynccontextmanager
async def cpu(stack: Stack, mode: str) -> AsyncIterator[None]:
    """Put every Machine under Fly's CPU quota, and restore the configured one at the end.

    ``mode`` is ``burst`` (the quota after a start) or ``baseline`` (once the burst is used).
    """
    await stack.admin("PUT", "/fly/cpu", {"mode": mode})
    try:
        yield
    finally:
        await stack.admin("DELETE", "/fly/cpu")


@check(
    "Q",
    "A Machine starts with less CPU time than Fly's shared CPU has at full speed",
    broken=Wrap(boot.busy_boot, {"seconds": 7.0}, starts=False),
    because="of CPU time",
    alone=True,
    deadline_s=120,
)
async def test_boot_fits_the_cpu(machines: Machines, stack: Stack) -> None:
    """Compile bytecode in the image, import late, and move work out of the start."""
    cpus = shared(stack.site)
    async with machines.booting() as made:
        await machines.open(made)  # test_boots_in_time judges how long this takes
        used = cpu_seconds(stack, made)
    if used is None:
        raise NotShown("this process cannot read the Machine's CPU time: run the checks where the Machines run")
    budget = BURST_S * cpus
    assert used < budget, (
        f"a new Machine used {used:.1f} s of CPU time until its port was open. Fly grants {budget:g} s at full speed"
        f" and a sixteenth of a CPU afterwards, so the rest would take {(used - budget) * 16:.0f} s there. Compile"
        " bytecode in the image, import late, and move work out of the start"
    )


def cpu_seconds(stack: Stack, machine: str) -> float | None:
    """The CPU time, in seconds, that all processes of a Machine have used so far; None where it cannot be read."""
    if stack.target.driver == "docker":
        return _of_container(machine)
    found = 0.0
    for process in processes_of(machine):
        with contextlib.suppress(OSError):
            ticks = (process / "stat").read_text("utf-8").rpartition(")")[2].split()
            found += (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    return found or None


def _of_container(machine: str) -> float | None:
    engine = Engine()
    try:
        stats = engine.get(f"/containers/{engine.container_of(machine)}/stats?stream=false&one-shot=true")
    except EngineError:
        return None
    return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9


@check(
    "Q",
    "With the CPU that Fly grants after a start, a Machine opens its port in time",
    broken=Wrap(boot.busy_boot, {"seconds": 12.0}, starts=False),
    because="does not open its port",
    needs=("docker",),
    alone=True,
    deadline_s=150,
)
async def test_boots_with_flys_cpu(machines: Machines, stack: Stack) -> None:
    """Compile bytecode in the image, import late, and move work out of the start."""
    shared(stack.site)
    when = " with the CPU time that Fly grants after a start"
    async with cpu(stack, "burst"), opened(machines, stack, when, own_cpu=False):
        pass


@check(
    "L",
    "With only its CPU baseline a Machine serves requests and answers its health check in time",
    broken=Wrap(boot.busy_writes, {"seconds": 1.5}),
    because="at the CPU baseline .*(writes fail|is not answered)",
    needs=("docker",),
    alone=True,
    deadline_s=200,
    rests_on=("test_writes_last",),
)
async def test_serves_at_the_baseline(person: Person, machines: Machines, stack: Stack) -> None:
    """Move work out of requests (into a job or a GPU function), or give the Machine another CPU in fly.toml."""
    shared(stack.site)
    await person.write()  # the cost of the first request, such as late imports, must not count
    machine = await machines.first()
    timeout_s = min((one.timeout_s for one in stack.site.project.fly.service.checks), default=PATIENCE_S)
    late: list[str] = []
    async with cpu(stack, "baseline"):
        busy = [asyncio.create_task(person.attempt()) for _ in range(WRITES)]
        while not all(task.done() for task in busy):
            try:
                answer = await asyncio.wait_for(probed(stack, machine), timeout_s)
            except TimeoutError:
                answer = "nothing"
            late += [] if answer.startswith("2") else [answer]
            await asyncio.sleep(0.2)
        kept: list[Attempt] = [await task for task in busy]
        shown = await person.reads()
    refused = [write.answer for write in kept if not write.acknowledged]
    assert not refused, (
        f"at the CPU baseline (a sixteenth of a CPU, once a Machine has used its five seconds of full speed)"
        f" {len(refused)} of {WRITES} writes fail: {refused[0]}. Move work out of requests, or give the Machine another"
        " CPU"
    )
    assert not late, (
        f"at the CPU baseline the health check is not answered within its timeout of {timeout_s:g} s while {WRITES}"
        f" writes are under way ({len(late)} times: {late[0]}). Fly would stop routing to the Machine: move work out of"
        " requests, or give the Machine another CPU"
    )
    assert not missing(kept, shown), (
        f"at the CPU baseline acknowledged writes are not shown ({', '.join(missing(kept, shown))}); shown: {shown}"
    )
