"""How a Machine starts: it opens its port in time, passes Fly's health check, and does not need Modal for either."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parity.checks import Wrap, check
from parity.checks.faults import Faults
from parity.checks.generic.own_time import opened_in_its_own_time
from parity.checks.generic.support import PATIENCE_S, asked_since, not_declared, probed, until
from parity.checks.machines import Machines
from parity.checks.stack import Stack
from parity.wraps import boot

HOUR_S = 3600
# Prefixes of R2's class A operations, the dearer of the two classes (cloudflare-docs, r2/pricing, September 2026).
COSTLY = ("Put", "Copy", "Create", "Complete", "Upload", "List")


@check(
    "Q",
    "A new Machine opens its port before the edge stops waiting for it",
    broken=Wrap(boot.slow_boot, {"seconds": 30.0}, starts=False),
    because="does not open its port",
    deadline_s=240,
    fast=True,
)
async def test_boots_in_time(machines: Machines, stack: Stack) -> None:
    """Do slow work in the build or after the port is open; listen on 0.0.0.0 and on fly.toml's internal_port."""
    async with opened(machines, stack, ""):
        pass


@asynccontextmanager
async def opened(machines: Machines, stack: Stack, when: str, *, own_cpu: bool = True) -> AsyncIterator[str]:
    """The id of a new Machine whose port is open; asserts that it opens before the edge stops trying.

    With ``own_cpu`` the seconds in which a busy host gave it no CPU do not count. ``when`` goes into the message.
    """
    async with machines.booting() as made:
        seen = await until(lambda: machines.get(made), over, 3 * PATIENCE_S)
        if own_cpu and await opened_in_its_own_time(machines, made):
            seen = await machines.get(made)
        last = [line for line in (await machines.logs(made))[-3:] if line.strip()]
        port = stack.site.project.fly.service.internal_port
        assert seen["port"] == "open", (
            f"a new Machine{when} does not open its port ({port}, fly.toml's internal_port) before the edge gives up;"
            f" the Machine is {seen['state']}. Its last log lines: {' | '.join(last) or 'none'}. On Fly the request"
            " that woke the Machine gets 502. Do slow work in the build or after the port is open, and listen on"
            " 0.0.0.0"
        )
        yield made


def over(seen: dict[str, object]) -> bool:
    """Whether the wait for the port has ended: it is open, or the edge has given up."""
    return seen["port"] in ("open", "closed") or seen["state"] in ("stopped", "destroyed")


@check(
    "A",
    "The health check passes when it is sent as Fly sends it: plain HTTP to the Machine, no forwarded headers",
    broken=Wrap(boot.https_only, starts=False),
    because="Fly would not route to it",
    alone=True,
    deadline_s=200,
    fast=True,
)
async def test_health_check_passes(machines: Machines, stack: Stack) -> None:
    """Answer the health check with 200 over plain HTTP, without a redirect to https."""
    configured = stack.site.project.fly.service.checks
    assert configured, (
        "fly.toml has no [[http_service.checks]], so Fly would call a deploy good as soon as the process has started,"
        " even when the app answers no request. Add a health check"
    )
    machine = await machines.first()
    longest = max(one.grace_period_s + one.interval_s + one.timeout_s for one in configured)
    seen = await until(
        lambda: machines.get(machine),
        lambda m: all(one["status"] == "passing" for one in m["checks"]),
        longest + PATIENCE_S,
    )
    wrong = [f"{one['status']} ({one['output'].strip()[:150]})" for one in seen["checks"] if one["status"] != "passing"]
    assert not wrong, (
        f"the health check {configured[0].method.upper()} {configured[0].path}, sent directly to the Machine as Fly"
        f" sends it, is {wrong[0]}. Fly would not route to it: only 2xx passes, and Fly follows no redirect. Answer"
        " 200 over plain HTTP"
    )


@check(
    "O",
    "The health check answers 2xx as often as Fly asks in an hour, and sends R2 no costly requests",
    broken=Wrap(boot.limited, {"requests": 100}),
    because="the health check answers 429",
    alone=True,
    deadline_s=120,
)
async def test_hour_of_probes(machines: Machines, stack: Stack) -> None:
    """Exempt the health check from rate limits, and send R2 no requests from it."""
    configured = stack.site.project.fly.service.checks
    if not configured:
        not_declared("fly.toml has no health check")
    machine, since = await machines.first(), time.time()
    probes = int(HOUR_S / min(one.interval_s for one in configured))
    for number in range(probes):
        answer = await probed(stack, machine)
        assert answer.startswith("2"), (
            f"after {number} probes the health check answers {answer}. Fly sends {probes} probes an hour and stops"
            " routing to a Machine that fails them. Exempt the health check from rate limits"
        )
    costly = [operation for operation, _ in await asked_since(stack, since) if operation.startswith(COSTLY)]
    assert len(costly) < probes / 4, (
        f"{probes} health checks, as many as Fly sends in an hour, caused {len(costly)} class A requests to R2"
        f" ({', '.join(sorted(set(costly)))}). An idle Machine would pay for {len(costly) * 720:,} a month. Send R2 no"
        " requests from the health check"
    )


@check(
    "R",
    "A Machine starts and passes its health check while Modal is unavailable",
    broken=Wrap(boot.slow_boot, {"seconds": 30.0}, starts=False),
    because="does not open its port",
    needs=("gpu",),
    alone=True,
    deadline_s=300,
)
async def test_boots_without_modal(machines: Machines, faults: Faults, stack: Stack) -> None:
    """Call Modal only in requests that need it, never at start-up or in the health check."""
    away = faults.modal(kind="rpc", target="*", status="UNAVAILABLE", times=-1, must_fire=False)
    async with away, opened(machines, stack, " that starts while Modal is unavailable") as made:
        answer = await probed(stack, made)
    assert answer.startswith("2"), (
        f"while Modal is unavailable the health check of a new Machine answers {answer}. Fly would stop routing to the"
        " whole app, although only some requests need Modal. Do not call Modal in the health check"
    )
