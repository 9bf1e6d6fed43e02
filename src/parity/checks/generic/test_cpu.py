"""A shared CPU on Fly: five seconds at once after a start, a sixteenth of a CPU once they are spent."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from parity.checks import Wrap, check
from parity.checks.generic.support import PATIENCE_S, not_declared, probed
from parity.checks.generic.test_boot import opens
from parity.checks.machines import Machines
from parity.checks.person import Attempt, Person, missing
from parity.checks.stack import Site, Stack
from parity.checks.verdict import NotShown
from parity.report.engine import Engine, EngineError
from parity.wraps import boot

# What a shared CPU that was idle grants at once, in seconds; its baseline is 6.25 % (Fly's docs on CPU, 2026).
BURST_S = 5.0
# Writes at once at the baseline: what one person's page may send.
WRITES = 4


def shared(site: Site) -> int:
    """How many shared CPUs a Machine has. Raises ``NotDeclared`` for performance CPUs, which are never throttled."""
    vm = site.project.fly.machine
    if vm.cpu_kind != "shared":
        not_declared("fly.toml asks for performance CPUs, which are not throttled")
    return vm.cpus


@asynccontextmanager
async def cpu(stack: Stack, mode: str) -> AsyncIterator[None]:
    """Every Machine under Fly's quota: ``burst``, as after a start, or ``baseline``; as configured afterwards."""
    await stack.admin("PUT", "/fly/cpu", {"mode": mode})
    try:
        yield
    finally:
        await stack.admin("DELETE", "/fly/cpu")


@check(
    "Q",
    "A boot needs less CPU time than a shared CPU grants at once",
    broken=Wrap(boot.busy_boot, {"seconds": 7.0}, starts=False),
    because="of CPU time",
    alone=True,
    deadline_s=120,
)
async def test_boot_fits_the_cpu(machines: Machines, stack: Stack) -> None:
    """Compile bytecode in the image, import late, and move work out of the start."""
    cpus = shared(stack.site)
    async with machines.booting() as made:
        await machines.open(made)  # however long it takes: that is another check
        used = cpu_seconds(stack, made)
    if used is None:
        raise NotShown("the CPU time of the Machine cannot be read from here")
    budget = BURST_S * cpus
    assert used < budget, (
        f"a new Machine used {used:.1f} s of CPU time until its port was open. A shared CPU that was idle grants"
        f" {budget:g} s at once, and a sixteenth of a CPU afterwards: the rest takes {(used - budget) * 16:.0f} s."
        " Compile bytecode in the image, import late"
    )


def cpu_seconds(stack: Stack, machine: str) -> float | None:
    """CPU time of all processes of a Machine so far; None where it cannot be read."""
    if stack.target.driver == "docker":
        return _of_container(machine)
    wanted, found = f"FLY_MACHINE_ID={machine}".encode(), 0.0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (process / "environ").read_bytes().split(b"\0"):
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
    "A Machine opens its port in time with the CPU that Fly grants after a start",
    broken=Wrap(boot.busy_boot, {"seconds": 12.0}, starts=False),
    because="does not open its port",
    needs=("docker",),
    alone=True,
    deadline_s=150,
)
async def test_boots_with_flys_cpu(machines: Machines, stack: Stack) -> None:
    """Compile bytecode in the image, import late, and move work out of the start."""
    shared(stack.site)
    async with cpu(stack, "burst"):
        await opens(machines, stack, " with the CPU time that Fly grants after a start")


@check(
    "L",
    "With only its CPU baseline a Machine serves requests and answers its health check in time",
    broken=Wrap(boot.busy_writes, {"seconds": 1.5}),
    because="at the CPU baseline",
    needs=("docker",),
    alone=True,
    deadline_s=200,
    rests_on=("test_writes_last",),
)
async def test_serves_at_the_baseline(person: Person, machines: Machines, stack: Stack) -> None:
    """Move work out of requests (a job, a GPU function), or give the Machine another CPU in fly.toml."""
    shared(stack.site)
    await person.write()  # what only the first request costs, such as late imports, is spent
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
        f"at the CPU baseline (a sixteenth of a CPU, once a Machine has spent its five seconds) {len(refused)} of"
        f" {WRITES} writes fail: {refused[0]}"
    )
    assert not late, (
        f"at the CPU baseline the health check is not answered within its timeout of {timeout_s:g} s while {WRITES}"
        f" writes are under way ({len(late)} times: {late[0]}): Fly would stop routing to the Machine"
    )
    assert not missing(kept, shown), f"at the CPU baseline acknowledged writes are not shown, but: {shown}"
