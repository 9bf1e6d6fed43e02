"""Blocking calls to a store in threads of their own, each under a retry policy and one hard deadline over all of it."""

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from app.storage.interface import StorageUnavailable
from app.storage.lanes import Lanes
from app.storage.retry import Policy, TryAgain

M = TypeVar("M")
T = TypeVar("T")

# How long the event loop leaves a call alone that makes what it sends: a store nearby has answered by then, and the
# thread was not held up by what the loop does meanwhile.
_UNDISTURBED = 0.005


class Calls:
    """At most `threads` calls at a time, where `shared` by lanes that leave room to each other; others wait for them,
    and their deadline runs meanwhile. Between two tries a call waits in the event loop and holds no thread."""

    def __init__(self, name: str, threads: int, *, shared: bool = False) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._threads = threads
        self._lanes = Lanes(threads) if shared else None
        self._count = 0
        self._counting = threading.Lock()

    def has_room(self) -> bool:
        """Whether a call would begin at once. A call past its deadline takes room until its thread ends."""
        return self._count < self._threads

    async def run(self, what: str, work: Callable[[int], T], policy: Policy, lane: str = "") -> T:
        """`work(number of the try)` under the policy. Raises `StorageUnavailable` past the deadline."""
        async with _Deadline(what) as deadline:
            deadline.begin(policy.seconds)
            return await self._tried(
                lambda attempt: self._submit(functools.partial(work, attempt), lane), lambda: policy, deadline
            )

    def run_made(
        self,
        what: str,
        make: Callable[[], M | None],
        work: Callable[[M, int], T],
        policy: Callable[[M], Policy],
        made: Callable[[], None],
    ) -> Coroutine[Any, Any, T | None]:
        """`run` for what `make` gives, its first try in the thread that made it; None, and no call, where it gives
        nothing. The policy is that of what was made. The thread is at work before this is awaited.

        `made` is called in the event loop, once: some milliseconds after `make` has ended, or with the answer where
        that is sooner. The deadline begins then. Raises what `make` raises.
        """
        found: list[M | None] = []

        def make_and_send(attempt: int) -> T | None:
            if attempt == 1:
                found.append(make())
            return None if found[0] is None else work(found[0], attempt)

        def policy_now() -> Policy:
            assert found[0] is not None
            return policy(found[0])

        def begin(attempt: int) -> Awaitable[T | None]:
            return self._begun(functools.partial(make_and_send, attempt), lambda: None)

        first = begin(1)

        async def answered() -> T | None:
            loop = asyncio.get_running_loop()
            deadline = _Deadline(what)
            told = False
            timer: asyncio.TimerHandle

            def tell() -> None:
                nonlocal told
                if not told:
                    told = True
                    made()

            def look() -> None:
                nonlocal timer
                if not found:
                    timer = loop.call_later(_UNDISTURBED, look)
                    return
                if found[0] is not None:
                    deadline.begin(policy_now().seconds)
                tell()

            timer = loop.call_later(_UNDISTURBED, look)
            try:
                async with deadline:
                    return await self._tried(
                        lambda attempt: first if attempt == 1 else begin(attempt), policy_now, deadline
                    )
            finally:
                timer.cancel()
                tell()

        return answered()

    def close(self) -> None:
        """A thread that waits for an answer ends by its own deadline; nobody waits for it."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _tried(
        self, begin: Callable[[int], Awaitable[T]], policy: Callable[[], Policy], deadline: "_Deadline"
    ) -> T:
        """What the tries come to; `begin` is given the number of each."""
        attempt = 1
        while True:
            try:
                return await begin(attempt)
            except TryAgain as failure:
                left = deadline.begin(policy().seconds)
                await asyncio.sleep(policy().wait(attempt, failure, left))
            attempt += 1

    async def _submit(self, work: Callable[[], T], lane: str) -> T:
        return await self._begun(work, await self._enter(lane))

    def _begun(self, work: Callable[[], T], leave: Callable[[], None]) -> "asyncio.Future[T]":
        # In the thread too it is known for which request this is.
        context = contextvars.copy_context()
        try:
            future = self._executor.submit(context.run, work)
        except BaseException:
            leave()
            raise
        with self._counting:
            self._count += 1
        future.add_done_callback(functools.partial(self._ended, leave))
        return asyncio.wrap_future(future)

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

    def _ended(self, leave: Callable[[], None], _: "Future[Any]") -> None:
        with self._counting:
            self._count -= 1
        leave()


class _Deadline:
    """`asyncio.timeout` that begins when it is told to, and ends as `StorageUnavailable`."""

    def __init__(self, what: str) -> None:
        self._what, self._seconds = what, 0.0
        self._timeout = asyncio.timeout(None)
        self._within = False

    def begin(self, seconds: float) -> float:
        """Begin, unless that was done; the seconds that are left."""
        now = asyncio.get_running_loop().time()
        if self._within and self._timeout.when() is None:
            self._seconds = seconds
            self._timeout.reschedule(now + seconds)
        return (self._timeout.when() or now) - now

    async def __aenter__(self) -> "_Deadline":
        await self._timeout.__aenter__()
        self._within = True
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._within = False
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            raise StorageUnavailable(f"{self._what}: no answer within {self._seconds:g} s") from late
