"""A replica's work in the background, and the signal by which its parts tell each other that something changed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, object]]


class Signal:
    """Wakes everyone who waits. A waiter looks at the state again, since many things are signalled by the same one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Return at the next notification."""
        await self._event.wait()


class Tasks:
    """Named tasks, at most one of each name. A task outlives the caller that started it."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._tasks: dict[object, asyncio.Task[Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def start(
        self, name: object, work: Callable[[], Coroutine[Any, Any, T]], then: Callable[[], None] = lambda: None
    ) -> asyncio.Task[T]:
        """``then`` is called when the task has ended without an error."""
        task = asyncio.ensure_future(work())
        self._tasks[name] = task

        def ended(ended_task: asyncio.Task[T]) -> None:
            if self._tasks.get(name) is ended_task:
                del self._tasks[name]
            if not ended_task.cancelled() and ended_task.exception() is None:
                then()
            self._signal.notify()

        task.add_done_callback(ended)
        return task

    async def join(self, name: str, work: Work, enough: Callable[[], bool] = lambda: False) -> None:
        """Wait for the task ``name``, started with ``work`` unless it runs already; raises what it raises.

        Returns sooner when ``enough`` becomes true. Whether the task did what this caller needs is for the caller to
        look at.
        """
        task = self._tasks.get(name)
        if task is None or task.done():
            # A task that is done stands there until its callbacks run, and awaiting it would not let them run.
            task = self.start(name, work)
        while not task.done():
            if enough():
                return
            await self._signal.wait()
        task.result()

    async def end(self) -> None:
        """Wait until no task runs. Errors are not raised here: they reach the callers that wait for the tasks."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
