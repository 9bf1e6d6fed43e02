"""Blocking calls to a store in threads of their own, each under a retry policy and one hard deadline over all of it."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from app.storage.interface import StorageUnavailable
from app.storage.retry import Policy

M = TypeVar("M")
T = TypeVar("T")

# How long the event loop leaves a call alone that makes what it sends: a store nearby has answered by then, and the
# thread was not held up by what the loop does meanwhile.
_UNDISTURBED = 0.005


class Calls:
    """At most ``threads`` calls at a time; others wait for them, and their deadline runs meanwhile."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="r2")
        self._threads = threads
        self._count = 0
        self._counting = threading.Lock()

    def has_room(self) -> bool:
        """Whether a call would begin at once. A call past its deadline takes room until its thread ends."""
        return self._count < self._threads

    async def run(self, what: str, work: Callable[[int], T], policy: Policy) -> T:
        """`work(number of the try)` under the policy. Raises `StorageUnavailable` past the deadline."""
        async with _Deadline(what, policy.seconds):
            return await self._submit(lambda: policy.run(work))

    async def run_made(
        self,
        what: str,
        make: Callable[[], M | None],
        work: Callable[[M, int], T],
        policy: Policy,
        made: Callable[[], None],
    ) -> T | None:
        """`run` for what `make` gives, in the thread that made it; None, and no call, where it gives nothing.

        `made` is called in the event loop, once: some milliseconds after `make` has ended, or with the answer where
        that is sooner. The deadline begins then. Raises what `make` raises.
        """
        loop = asyncio.get_running_loop()
        deadline = _Deadline(what, policy.seconds, begun=False)
        over = told = False
        timer: asyncio.TimerHandle

        def both() -> T | None:
            nonlocal over
            try:
                found = make()
            finally:
                over = True
            return None if found is None else policy.run(lambda attempt: work(found, attempt))

        def tell() -> None:
            nonlocal told
            if not told:
                told = True
                made()

        def look() -> None:
            nonlocal timer
            if over:
                deadline.begin()
                tell()
            else:
                timer = loop.call_later(_UNDISTURBED, look)

        timer = loop.call_later(_UNDISTURBED, look)
        try:
            async with deadline:
                return await self._submit(both)
        finally:
            timer.cancel()
            tell()

    def close(self) -> None:
        """A thread that waits for an answer ends by its own deadline; nobody waits for it."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _submit(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        # In the thread too it is known for which request this is.
        context = contextvars.copy_context()
        future = self._executor.submit(context.run, work)
        with self._counting:
            self._count += 1
        future.add_done_callback(self._ended)
        return asyncio.wrap_future(future)

    def _ended(self, _: "Future[Any]") -> None:
        with self._counting:
            self._count -= 1


class _Deadline:
    """`asyncio.timeout` that begins when it is told to, and ends as `StorageUnavailable`."""

    def __init__(self, what: str, seconds: float, *, begun: bool = True) -> None:
        self._what, self._seconds = what, seconds
        self._timeout = asyncio.timeout(seconds if begun else None)
        self._within = False

    def begin(self) -> None:
        if self._within:
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._within = True

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._within = False
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise StorageUnavailable(f"{self._what}: no answer within {self._seconds:g} s") from late
