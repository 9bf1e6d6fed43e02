"""Measures the cost of opening a profile, and of a profile that is open and idle."""

from __future__ import annotations

import asyncio
import gc
import resource
from pathlib import Path

from app.context import UserContext
from app.storage.interface import READS_AT_ONCE
from parity.bench.frame import Figure, in_turn, percentile
from parity.bench.replication_machine import Place, Rows, backend, seconds_of
from parity.bench.standin import forget, totals

OPEN_BAR, IDLE_BYTES_BAR = 2.0, 50_000
_ROUNDS = 8
# The bar applies from this size (MB) on: for a smaller database the two LIST take most of the time.
_LARGE = 20


async def opening(place: Place, context: UserContext, megabytes: int) -> Figure:
    """The time of a first read on a Machine with an empty disk, relative to bare GETs of the same objects."""
    opened = 0
    fetched: list[str] = []

    async def open_(_: int) -> float:
        nonlocal opened, fetched
        opened += 1
        async with backend(place.folder / f"reader{opened}") as machine:
            await machine.store.probe()  # connects and starts the client, which is not measured
            seconds = await seconds_of(lambda: machine.read(_count, context))
            fetched = machine.store.fetched
        return seconds

    async def fetch(_: int) -> float:
        async with backend(place.folder / "fetcher") as machine:
            await machine.store.probe()
            limit = asyncio.Semaphore(READS_AT_ONCE)

            async def get(key: str) -> None:
                async with limit:
                    await machine.store.get_bytes(key)

            return await seconds_of(lambda: asyncio.gather(*(get(key) for key in fetched)))

    forget(place.admin_url)
    await open_(0)
    operations = totals(place.admin_url)["operations"]
    ours, theirs = await in_turn(min(_ROUNDS, place.sizes.rounds), [open_, fetch])
    mine, bare = percentile(ours, 0.5), percentile(theirs, 0.5)
    lists, gets = operations.get("ListObjects", 0) - 1, operations.get("GetObject", 0)
    note = f"{mine * 1000:.0f} ms against {bare * 1000:.0f} ms; {lists} LIST, {gets} GET, {READS_AT_ONCE} at a time"
    bar = OPEN_BAR if megabytes >= _LARGE else None
    return Figure(f"open {megabytes} MB / the same GETs", mine / bare, "×", at_most=bar, note=note)


async def idle(place: Place) -> list[Figure]:
    """Many profiles, each written to once, then left alone."""
    warm, count = max(1, place.sizes.profiles // 10), place.sizes.profiles
    async with backend(place.folder) as machine:
        limit = asyncio.Semaphore(8)

        async def use(number: int) -> None:
            async with limit:
                await machine.write(lambda c: Rows(number).fill(c, 1), UserContext(f"user{number}", "main"))

        # The first profiles pay for what the process allocates once: client, threads, all connections.
        await asyncio.gather(*(use(number) for number in range(warm)))
        before = _resident()
        await asyncio.gather(*(use(number) for number in range(warm, warm + count)))
        each = (_resident() - before) / count
        forget(place.admin_url)
        await asyncio.sleep(place.sizes.idle_seconds)
        requests = totals(place.admin_url)["requests"]
    open_most = machine.settings.sync_max_open_profiles
    return [
        Figure(
            f"R2 requests of {count} idle profiles", requests, "", at_most=0, note=f"in {place.sizes.idle_seconds:g} s"
        ),
        Figure(
            "memory of an idle profile",
            each,
            "B",
            at_most=IDLE_BYTES_BAR,
            note=f"growth of the resident size / {count}; at most {open_most} connections open",
        ),
    ]


def _count(connection: object) -> int:
    return int(connection.execute("SELECT count(*) FROM games").fetchone()[0])  # type: ignore[attr-defined]


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
