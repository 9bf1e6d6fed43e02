"""A Machine starts: in time for the edge, healthy as Fly asks, also while Modal is away."""

from __future__ import annotations

import time

from parity.checks import Wrap, check
from parity.checks.faults import Faults
from parity.checks.generic.support import PATIENCE_S, asked_since, not_declared, probed, until
from parity.checks.machines import Machines
from parity.checks.stack import Stack
from parity.wraps import boot

HOUR_S = 3600
# What R2 counts as class A: each costs, and changes something or lists (cloudflare-docs, r2/pricing, September 2026).
COSTLY = ("Put", "Copy", "Create", "Complete", "Upload", "List")


@check(
    "Q",
    "A Machine opens its port before the edge gives up waiting for it",
    broken=Wrap(boot.slow_boot, {"seconds": 30.0}, starts=False),
    because="does not open its port",
    deadline_s=120,
    fast=True,
)
async def test_boots_in_time(machines: Machines, stack: Stack) -> None:
    """Do at build time, or after the port is open, what takes long; listen on 0.0.0.0 and fly.toml's internal_port."""
    await opens(machines, stack, "")


async def opens(machines: Machines, stack: Stack, when: str) -> None:
    """A new Machine opens its port as long as the edge tries."""
    async with machines.booting() as made:
        seen = await until(lambda: machines.get(made), over, 3 * PATIENCE_S)
        last = [line for line in (await machines.logs(made))[-3:] if line.strip()]
    port = stack.site.project.fly.service.internal_port
    assert seen["port"] == "open", (
        f"a new Machine{when} does not open its port ({port}, as fly.toml's internal_port) before the edge gives up:"
        f" state {seen['state']}. Its last lines: {' | '.join(last) or 'none'}. The request that woke it gets 502. Move"
        " long work to the build or behind the start, and listen on 0.0.0.0"
    )


def over(seen: dict[str, object]) -> bool:
    """Whether the edge has found the port open, or given up."""
    return seen["port"] in ("open", "closed") or seen["state"] in ("stopped", "destroyed")


@check(
    "A",
    "The health check of fly.toml passes as Fly sends it: plain HTTP, past the edge, no forwarded headers",
    broken=Wrap(boot.https_only, starts=False),
    because="Fly would not route to it",
    alone=True,
    deadline_s=200,
    fast=True,
)
async def test_health_check_passes(machines: Machines, stack: Stack) -> None:
    """Answer the health check with 200 over plain HTTP, without a redirect to https."""
    configured = stack.site.project.fly.service.checks
    assert configured, "fly.toml has no [[http_service.checks]]: a deploy would only see that the process started"
    machine = await machines.first()
    longest = max(one.grace_period_s + one.interval_s + one.timeout_s for one in configured)
    seen = await until(
        lambda: machines.get(machine),
        lambda m: all(one["status"] == "passing" for one in m["checks"]),
        longest + PATIENCE_S,
    )
    wrong = [f"{one['status']} ({one['output'].strip()[:150]})" for one in seen["checks"] if one["status"] != "passing"]
    assert not wrong, (
        f"{configured[0].method.upper()} {configured[0].path}, straight to the Machine as Fly sends it, is {wrong[0]}:"
        " Fly would not route to it. Only 2xx passes, and redirects are not followed"
    )


@check(
    "O",
    "An hour of health checks is answered: no rate limit refuses them, and they cost nothing at R2",
    broken=Wrap(boot.limited, {"requests": 100}),
    because="the health check answers 429",
    alone=True,
    deadline_s=120,
)
async def test_hour_of_probes(machines: Machines, stack: Stack) -> None:
    """Exempt the health check from rate limits, and let it ask R2 for nothing."""
    configured = stack.site.project.fly.service.checks
    if not configured:
        not_declared("fly.toml has no health check")
    machine, since = await machines.first(), time.time()
    probes = int(HOUR_S / min(one.interval_s for one in configured))
    for number in range(probes):
        answer = await probed(stack, machine)
        assert answer.startswith("2"), (
            f"after {number} probes (an hour has {probes}) the health check answers {answer}: Fly would take the"
            " Machine away. Exempt the health check from limits"
        )
    costly = [operation for operation, _ in await asked_since(stack, since) if operation.startswith(COSTLY)]
    assert len(costly) < probes / 4, (
        f"{probes} probes of the health check, an hour of them, came with {len(costly)} costly requests to R2"
        f" ({', '.join(sorted(set(costly)))}): that is {len(costly) * 720:,} a month for a Machine that does nothing."
        " Let the health check ask R2 for nothing"
    )


@check(
    "R",
    "A Machine boots and is healthy while Modal is away",
    broken=Wrap(boot.slow_boot, {"seconds": 30.0}, starts=False),
    because="does not open its port",
    needs=("gpu",),
    alone=True,
    deadline_s=150,
)
async def test_boots_without_modal(machines: Machines, faults: Faults, stack: Stack) -> None:
    """Ask Modal when a request needs it, never at start-up or in the health check."""
    async with faults.modal(kind="rpc", target="*", status="UNAVAILABLE", times=-1, must_fire=False):
        await opens(machines, stack, " that starts while Modal is away")
        async with machines.booting() as made:
            await until(lambda: machines.get(made), over, 3 * PATIENCE_S)
            answer = await probed(stack, made)
    assert answer.startswith("2"), (
        f"while Modal is away the health check of a new Machine answers {answer}: Fly would stop routing to the whole"
        " app for something that only some requests need"
    )
