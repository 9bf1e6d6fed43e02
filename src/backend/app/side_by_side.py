"""The same work for many things at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


async def each(work: Callable[[S], Awaitable[T]], things: Iterable[S], at_once: int) -> list[T]:
    """What ``work`` gives for each thing, in their order; at most ``at_once`` of them run at a time."""
    limit = asyncio.Semaphore(at_once)

    async def one(thing: S) -> T:
        async with limit:
            return await work(thing)

    return await asyncio.gather(*map(one, things))
