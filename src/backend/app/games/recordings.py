"""Reads parts of an MPEG-TS between its ends, to see whether its clock runs on and its streams keep their format.

A short file is read whole. A long one is read in places at equal distances, each long enough to hold a table of its
streams: a gigabyte of a usual camera every 6 MB or so. What is shorter than that is found when a clip is cut, where the
whole file is at hand (`reel.transport.check_formats`). Reading all of a long file here was rejected: a Machine reads
some 8 MiB/s.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from reel import transport
from reel.errors import UnusableVideo

# What is read of the file between its ends, at most.
BUDGET_BYTES: Final = 24 * 1024 * 1024
PIECE_BYTES: Final = 4 * 1024 * 1024
PLACE_BYTES: Final = (64 * 1024, 1024 * 1024)
AT_ONCE: Final = 8

Read = Callable[[int, int], Awaitable[bytes]]
Span = tuple[int, int]


async def check(read: Read, head: bytes, tail: bytes, start: int, end: int, packet: int) -> None:
    """Look at `head`, at places between `start` and `end`, and at `tail`. Raises UnusableVideo."""
    clock, formats = transport.Clock(packet), transport.Formats(packet)

    def look_at(*parts: bytes) -> None:
        for part in parts:
            clock.look(part)
            formats.look(part)

    await asyncio.to_thread(look_at, head)
    places = list(plan(start, end, packet, formats.spacing))
    for first in range(0, len(places), AT_ONCE):
        parts = await asyncio.gather(*(read(offset, length) for offset, length in places[first : first + AT_ONCE]))
        await asyncio.to_thread(look_at, *parts)
    await asyncio.to_thread(look_at, tail)
    if clock.went_back:
        raise UnusableVideo(
            "The clock of this recording begins anew in the middle, so times within it mean nothing: join its parts "
            "into one MP4 first, and upload that"
        )
    if formats.changed:
        raise UnusableVideo(transport.FORMATS_CHANGE)


def plan(start: int, end: int, packet: int, spacing: int) -> Iterator[Span]:
    """Offset and length of each place, all at packets. `spacing` is how far apart the tables of the streams are."""
    budget, left = BUDGET_BYTES // packet * packet, end - start
    if left <= budget:
        piece = PIECE_BYTES // packet * packet
        yield from ((offset, min(piece, end - offset)) for offset in range(start, end, piece))
        return
    shortest, longest = PLACE_BYTES
    length = max(shortest, min(longest, 2 * spacing)) // packet * packet
    count = budget // length
    for place in range(count):
        # In the middle of its share of the file.
        yield start + (left * (2 * place + 1) // (2 * count) - length // 2) // packet * packet, length
