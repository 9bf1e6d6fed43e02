"""Measures the cost of writes and reads on R2: billed operations, counted by the stand-in, and their list price."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from parity.bench.frame import Figure
from parity.bench.replication_machine import Backend, Place, backend, filled
from parity.bench.standin import forget, totals
from parity.r2.seen import dollars

_READS_A_SECOND = 10


def per_million(class_a: int, class_b: int, count: int) -> tuple[float, float, float]:
    """Class A and class B operations, and dollars, for a million where ``count`` took so many. No free allowance."""
    a, b = class_a * 1e6 / count, class_b * 1e6 / count
    return a, b, dollars(round(a), round(b))


async def prices(place: Place) -> list[Figure]:
    """Dollars per million writes and reads in the ways that matter; merges and snapshots included."""
    writes, clients = place.sizes.writes // 5, place.sizes.clients
    figures = []
    async with backend(place.folder / "writer") as machine:
        rows = await filled(machine, 1)

        async def write(count: int) -> None:
            for _ in range(count):
                await machine.write(rows.change())

        figures.append(await _priced("writes, one client", place, writes, lambda: write(writes)))
        each = max(1, writes // clients)
        together = lambda: asyncio.gather(*(write(each) for _ in range(clients)))  # noqa: E731
        figures.append(await _priced(f"writes, {clients} clients", place, each * clients, together))
    for check in ("always", "1", "never"):
        async with backend(place.folder / f"reader-{check}", SYNC_READ_CHECK=check) as reader:
            await _read(reader)
            reads = max(1, int(min(place.sizes.seconds, 5.0) * _READS_A_SECOND))
            name = f"reads, SYNC_READ_CHECK={check}"
            if check == "1":
                name += f", {_READS_A_SECOND}/s"
            figures.append(await _priced(name, place, reads, lambda: _reads(reader, reads)))  # noqa: B023
    return figures


async def _reads(machine: Backend, count: int) -> None:
    """Reads at an even pace: how often the store is asked depends on it."""
    began = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / _READS_A_SECOND - time.perf_counter()))
        await _read(machine)


async def _read(machine: Backend) -> None:
    await machine.read(lambda connection: connection.execute("SELECT count(*) FROM games").fetchone())


async def _priced(name: str, place: Place, count: int, work: Callable[[], Awaitable[object]]) -> Figure:
    forget(place.admin_url)
    await work()
    seen = totals(place.admin_url)
    a, b, cost = per_million(seen["class_a"], seen["class_b"], count)
    return Figure(f"a million {name}", cost, "$", note=f"{a:,.0f} class A, {b:,.0f} class B; of {count} measured")
