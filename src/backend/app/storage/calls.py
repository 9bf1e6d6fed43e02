"""Blocking calls to a store in a thread pool, each with a retry policy and one deadline for all its tries."""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.storage.fair_limit import FairLimit
from app.storage.interface import StorageUnavailable
from app.storage.retry import Policy, TryAgain

T = TypeVar("T")


class Calls:
    """At most `threads` calls run at a time; others wait, and their deadline counts meanwhile. With `fair`,
    threads are shared between groups (`app.storage.fair_limit`). Between two tries a call waits in the event loop and
    holds no thread."""

    def __init__(self, name: str, threads: int, *, fair: bool = False) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._limit = FairLimit(threads) if fair else None

    async def run(self, what: str, work: Callable[[int], T], policy: Policy, group: str = "") -> T:
        """`work(number of the try)` under the policy. Raises `StorageUnavailable` past the deadline."""
        try:
            async with asyncio.timeout(policy.seconds) as deadline:
                attempt = 1
                while True:
                    try:
                        return await self._submit(lambda: work(attempt), group)  # noqa: B023
                    except TryAgain as failure:
                        left = (deadline.when() or 0.0) - asyncio.get_running_loop().time()
                        await asyncio.sleep(policy.wait(attempt, failure, left))
                    attempt += 1
        except TimeoutError as late:
            if not deadline.expired():
                raise
            raise StorageUnavailable(f"{what}: no answer within {policy.seconds:g} s") from late

    def close(self) -> None:
        """Shut down without waiting: a thread that waits for an answer ends by its own deadline."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _submit(self, work: Callable[[], T], group: str) -> T:
        release = await self._acquire(group)
        # The thread gets the context of the request, so that its calls carry the request id.
        context = contextvars.copy_context()
        try:
            future = self._executor.submit(context.run, work)
        except BaseException:
            release()
            raise
        future.add_done_callback(lambda _: release())
        return await asyncio.wrap_future(future)

    async def _acquire(self, group: str) -> Callable[[], None]:
        """Wait for a slot of the group; returns a function that releases it and may be called from any thread."""
        limit = self._limit
        if limit is None:
            return lambda: None
        await limit.acquire(group)
        loop = asyncio.get_running_loop()

        def release() -> None:
            # The loop may be gone before the last thread is.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(limit.release, group)

        return release
