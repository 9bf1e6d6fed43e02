"""Measures a durable write: its time relative to a bare PUT, and its uploaded bytes with merges and snapshots."""

from __future__ import annotations

from app.context import UserContext
from parity.bench.frame import Figure, in_turn, percentile
from parity.bench.replication_machine import Place, Uploads, backend, filled, seconds_of
from parity.bench.replication_open import opening
from parity.bench.standin import slow_puts

_SETTLING_WRITES = 64
# A quarter of the time that R2 takes for a small PUT from a nearby Machine, in seconds.
_PUT_DELAY = 0.05
RATIO_BAR, BYTES_BAR, FILE_BAR = 1.05, 10_000, 6_000


async def small_write(place: Place) -> list[Figure]:
    """One client's durable write against a bare conditional PUT of the same bytes by the same client library."""
    async with backend(place.folder) as machine:
        rows = await filled(machine, 1)

        async def write(_: int) -> float:
            change = rows.change()
            return await seconds_of(lambda: machine.write(change))

        async def bare(turn: int) -> float:
            data, metadata = machine.store.uploads.last
            return await seconds_of(
                lambda: machine.store.put_bytes(f"bench/bare/{turn}", data, if_none_match=True, metadata=metadata)
            )

        await in_turn(20, [write, lambda turn: bare(-1 - turn)])
        ours, theirs = await in_turn(place.sizes.rounds, [write, bare])
        with slow_puts(place.admin_url, _PUT_DELAY):
            far, far_bare = await in_turn(
                place.sizes.rounds // 10, [write, lambda turn: bare(place.sizes.rounds + turn)]
            )
    half = percentile(ours, 0.5) / percentile(theirs, 0.5)
    tails = percentile(ours, 0.99) / percentile(theirs, 0.99)
    note = f"{_ms(ours, 0.5)} against {_ms(theirs, 0.5)}, {place.sizes.rounds} rounds"
    return [
        # No bar: in production the store is never on the same computer.
        Figure("durable small write / bare PUT, p50", half, "×", note=note),
        Figure(
            f"the same, each PUT delayed by {_PUT_DELAY * 1000:g} ms, p50",
            percentile(far, 0.5) / percentile(far_bare, 0.5),
            "×",
            at_most=RATIO_BAR,
            note=f"{_ms(far, 0.5)} against {_ms(far_bare, 0.5)}, {len(far)} rounds",
        ),
        Figure(
            "durable small write / bare PUT, p99", tails, "×", note=f"{_ms(ours, 0.99)} against {_ms(theirs, 0.99)}"
        ),
    ]


async def long_log(place: Place) -> list[Figure]:
    """Bytes uploaded per small write of one client (so no two writes share a file), then the time to open the log."""
    figures = []
    for megabytes in place.sizes.megabytes:
        for how in ("one game at a time", "anywhere"):
            context = UserContext("alice", f"log{megabytes}-{how.partition(' ')[0]}")
            uploads = await _log(place, context, megabytes, how)
            writes = place.sizes.writes
            figures += [
                Figure(
                    f"uploaded per write, {megabytes} MB, {how}",
                    uploads.total() / writes,
                    "B",
                    at_most=BYTES_BAR,
                    note=f"{writes} writes: {uploads.levels()}",
                ),
                Figure("of these in level-0 files", uploads.sizes[0] / writes, "B", at_most=FILE_BAR),
                await opening(place, context, megabytes),
            ]
    return figures


async def _log(place: Place, context: UserContext, megabytes: int, how: str) -> Uploads:
    async with backend(place.folder / context.profile_id) as machine:
        rows = await filled(machine, megabytes, context)
        change = rows.change if how == "anywhere" else rows.work
        # Filling leaves one huge file. Its merge and snapshot end before counting: no small write caused them.
        for _ in range(_SETTLING_WRITES):
            await machine.write(change(), context)
        await machine.at_rest(context)
        uploads = machine.store.uploads = Uploads()
        for _ in range(place.sizes.writes):
            await machine.write(change(), context)
    return uploads


def _ms(values: list[float], share: float) -> str:
    return f"{percentile(values, share) * 1000:.2f} ms"
