"""Blocking calls to a store in threads of their own, each under a retry policy and one hard deadline over all of it."""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.storage.interface import StorageUnavailable
from app.storage.lanes import Lanes
from app.storage.retry import Policy, TryAgain

T = TypeVar("T")


class Calls:
    """At most `threads` calls run at a time; others wait, and their deadline counts meanwhile. Where `shared`, calls
    are divided by lanes (`app.storage.lanes`). Between two tries a call waits in the event loop and holds no thread."""

    def __init__(self, name: str, threads: int, *, shared: bool = False) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lanes = Lanes(threads) if shared else None

    async def run(self, what: str, work: Callable[[int], T], policy: Policy, lane: str = "") -> T:
        """`work(number of the try)` under the policy. Raises `StorageUnavailable` past the deadline."""
        try:
            async with asyncio.timeout(policy.seconds) as deadline:
                attempt = 1
                while True:
                    try:
                        return await self._submit(lambda: work(attempt), lane)  # noqa: B023
                    except TryAgain as failure:
                        left = (deadline.when() or 0.0) - asyncio.get_running_loop().time()
                        await asyncio.sleep(policy.wait(attempt, failure, left))
                    attempt += 1
        except TimeoutError as late:
            if not deadline.expired():
                raise
            raise StorageUnavailable(f"{what}: no answer within {policy.seconds:g} s") from late

    def close(self) -> None:
        """Wait for nothing: a thread that waits for an answer ends by its own deadline."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _submit(self, work: Callable[[], T], lane: str) -> T:
        leave = await self._enter(lane)
        # The thread too knows for which request this is.
        context = contextvars.copy_context()
        try:
            future = self._executor.submit(context.run, work)
        except BaseException:
            leave()
            raise
        future.add_done_callback(lambda _: leave())
        return await asyncio.wrap_future(future)

    async def _enter(self, lane: str) -> Callable[[], None]:
        """Wait for room in the lane; what gives it back, from any thread."""
        lanes = self._lanes
        if lanes is None:
            return lambda: None
        await lanes.enter(lane)
        loop = asyncio.get_running_loop()

        def leave() -> None:
            # The loop may be gone before the last thread is.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lanes.leave, lane)

        return leave
