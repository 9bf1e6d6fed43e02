"""Threads that read or write a file, and that end before their caller goes on.

A caller that is cancelled removes its folder, or deletes the object. A thread that goes on after that would leave a
file on the disk, or create the object again.
"""

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

T = TypeVar("T")
_POLL_SECONDS: Final = 0.02


class GivenUp(Exception):
    """Ends a thread whose caller was cancelled or ran into its deadline."""


class FileThread:
    """The work of one call, of which a retry repeats the whole."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._running = threading.Lock()

    def check(self) -> None:
        """Raises GivenUp if the caller has gone."""
        if self._stop.is_set():
            raise GivenUp

    def wrap(self, work: Callable[[int], T]) -> Callable[[int], T]:
        """`work`, which must call `check` at intervals."""

        def run(attempt: int) -> T:
            with self._running:
                self.check()
                return work(attempt)

        return run

    async def end(self) -> None:
        """Stop the thread and wait for its end: at most until a request that hangs runs into its timeout."""
        self._stop.set()
        while self._running.locked():  # noqa: ASYNC110 - a lock of threads
            await asyncio.sleep(_POLL_SECONDS)


class Body(io.FileIO):
    """A file that is sent. Reading from it ends when the caller has gone, but not at its end: then the store has all of
    it and may create the object, so the caller must wait for the answer."""

    def __init__(self, path: Any, thread: FileThread) -> None:
        super().__init__(path, "rb")
        self._thread = thread
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1) -> Any:
        if self.tell() < self._size:
            self._thread.check()
        return super().read(-1 if size is None else size)


@asynccontextmanager
async def file_thread() -> AsyncIterator[FileThread]:
    """The thread has ended when this context ends, also if that is because of a cancellation."""
    thread = FileThread()
    try:
        yield thread
    finally:
        await thread.end()
