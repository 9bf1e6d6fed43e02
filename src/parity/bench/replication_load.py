"""Many clients at once: acknowledged writes per second, compared with other ways, and the delay of the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from app.context import UserContext
from parity.bench.frame import Figure, percentile
from parity.bench.litestream import BINARY, litestream
from parity.bench.replication_machine import Backend, Place, Rows, backend, filled
from parity.bench.standin import behave, forget, totals
from parity.bench.whole_file import WholeFile

RATE_BAR, LAG_BAR, SATURATED_BAR = 20.0, 10.0, 1.25
# The resolution of uvloop's timers.
_CLOCK_MS = 1.0
WINDOW = "0.3-1.4"
_PROBE_SECONDS = 0.002
Write = Callable[[], Awaitable[object]]


async def throughput(place: Place) -> list[Figure]:
    """Acknowledged writes per second to one profile of 1 MB, in three ways, while R2's write window applies."""
    figures = []
    behave(place.admin_url, write_window=WINDOW)
    for latency in ("off", "realistic"):
        behave(place.admin_url, latency=latency)
        for name, start in _WAYS.items():
            if name == "litestream" and not BINARY.exists():
                continue
            async with AsyncExitStack() as stack:
                write = await start(stack, place.folder / f"{name}-{latency}")
                forget(place.admin_url)
                rate = await _rate(write, place)
                seen = totals(place.admin_url)
            refused = seen["statuses"].get("429", 0)
            puts = seen["operations"].get("PutObject", 0)
            bar = RATE_BAR if name == "replication" else None
            note = f"{refused} responses 429, {puts} PUT, {seen['bytes_in'] / 1e6:.1f} MB uploaded"
            figures.append(
                Figure(f"{name}, {place.sizes.clients} clients, latency {latency}", rate, "/s", at_least=bar, note=note)
            )
            if name == "replication":
                figures.append(Figure(f"its responses 429, latency {latency}", refused, "", at_most=0))
    behave(place.admin_url, write_window="overlap", latency="off")
    return figures


async def lag(place: Place) -> list[Figure]:
    """How late a timer fires while clients write to one profile, write to a profile each, or send bare PUTs."""
    clients, figures = place.sizes.clients, []
    async with backend(place.folder) as machine:
        rows = await filled(machine, 1)
        contexts = [UserContext(f"user{number}", "main") for number in range(clients)]
        for context in contexts:
            await machine.write(lambda c: Rows().fill(c, 1), context)
        body = machine.store.uploads.last[0]

        async def one(_: int) -> None:
            await machine.write(rows.change())

        async def each(number: int) -> None:
            await machine.write(_note, contexts[number])

        async def bare(number: int) -> None:
            await machine.store.put_bytes(f"bench/lag/{number}", body)

        # Without latency, 32 clients with a profile each saturate the process, and the event loop waits for the
        # interpreter's lock. Bare PUTs do the same; the ratio of the two is what replication adds.
        works = (
            ("one profile", one, "off", LAG_BAR),
            ("a profile each", each, "realistic", LAG_BAR),
            ("a profile each", each, "off", None),
            ("bare PUTs", bare, "off", None),
        )
        for what, work, latency, bar in works:
            behave(place.admin_url, latency=latency)
            delays, own, done = await _lag_under(work, clients, place.sizes.seconds)
            rate, name = done / place.sizes.seconds, f"event loop delay, {what}, latency {latency}, p99"
            note = (
                f"{clients} clients; p50 {percentile(delays, 0.5):.2f}, max {max(delays):.1f}, the loop's own work "
                f"p99 {percentile(own, 0.99):.1f}; {rate:.0f} writes/s"
            )
            figures.append(Figure(name, percentile(delays, 0.99), "ms", at_most=bar, note=note))
    behave(place.admin_url, latency="off")
    saturated = figures[-2].value / max(figures[-1].value, _CLOCK_MS)
    figures.append(Figure("a profile each / bare PUTs, latency off", saturated, "×", at_most=SATURATED_BAR))
    return figures


def _note(connection: Any) -> None:
    connection.execute("UPDATE games SET updated_at = ? WHERE rowid = 1", (str(time.time()),))


async def _lag_under(
    work: Callable[[int], Awaitable[None]], clients: int, seconds: float
) -> tuple[list[float], list[float], int]:
    """While each client repeats ``work``: by how many milliseconds each timer was late, for how many of these the event
    loop's thread used the CPU, and the number of ``work`` done. At least one timer is measured."""
    until, done, delays, own = time.perf_counter() + seconds, 0, list[float](), list[float]()

    async def client(number: int) -> None:
        nonlocal done
        while time.perf_counter() < until:
            await work(number)
            done += 1

    async def probe() -> None:
        loop = asyncio.get_running_loop()
        while time.perf_counter() < until or not delays:
            due, used = loop.time() + _PROBE_SECONDS, time.thread_time()
            await asyncio.sleep(_PROBE_SECONDS)
            delays.append(max(0.0, loop.time() - due) * 1000)
            own.append((time.thread_time() - used) * 1000)

    await asyncio.gather(probe(), *(client(number) for number in range(clients)))
    return delays, own, done


async def _rate(write: Write, place: Place) -> float:
    """Acknowledged writes per second: all writes that began in time, over the time until the last one ended."""
    began, done = time.perf_counter(), 0

    async def client() -> None:
        nonlocal done
        while time.perf_counter() - began < place.sizes.seconds:
            await write()
            done += 1

    await asyncio.gather(*(client() for _ in range(place.sizes.clients)))
    return done / (time.perf_counter() - began)


async def _replication(stack: AsyncExitStack, folder: Path) -> Write:
    # Each run has its own profile, because all share the bucket.
    machine: Backend = await stack.enter_async_context(backend(folder))
    context = UserContext("alice", folder.name)
    rows = await filled(machine, 1, context)
    return lambda: machine.write(rows.change(), context)


async def _whole_file(stack: AsyncExitStack, folder: Path) -> Write:
    machine: Backend = await stack.enter_async_context(backend(folder))
    database = WholeFile(machine.store, f"bench/{folder.name}.sqlite")
    stack.callback(database.close)
    rows = Rows()
    await database.write(lambda c: rows.fill(c, 1_000_000))
    return lambda: database.write(rows.change())


async def _litestream(stack: AsyncExitStack, folder: Path) -> Write:
    database = await stack.enter_async_context(litestream(folder))
    rows = Rows()
    await database.write(lambda c: rows.fill(c, 1_000_000))
    return lambda: database.write(rows.change())


_WAYS: dict[str, Callable[[AsyncExitStack, Path], Awaitable[Write]]] = {
    "replication": _replication,
    "whole-file": _whole_file,
    "litestream": _litestream,
}
