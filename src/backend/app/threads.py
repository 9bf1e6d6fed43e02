"""Blocking work in threads, without losing the context or the work on cancellation."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def run(executor: Executor, work: Callable[[], T]) -> T:
    """Runs `work` in a thread of `executor`, with this task's context variables.

    A cancelled caller still waits for the thread: whatever it holds must not be used by anyone else before it ends.
    """
    context = contextvars.copy_context()
    future = asyncio.get_running_loop().run_in_executor(executor, lambda: context.run(work))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # seen, so that it is not reported as lost
        raise
