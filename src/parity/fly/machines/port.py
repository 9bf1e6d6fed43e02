"""Finds out whether a Machine's internal port is open, by trying to connect after each start, as Fly's edge does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from parity.fly.machines.driver import Address
from parity.fly.settings import FlySettings

# Pause between attempts after the port did not open in time, in seconds.
LATE_PAUSE_S = 1.0
# The same for Machines of the working tree. It is short, because a developer waits.
DEV_PAUSE_S = 0.03
# Shortest timeout of one attempt to connect, in seconds.
CONNECT_WAIT_S = 0.5


class Port(Enum):
    """Whether the internal port of a started Machine accepts connections."""

    UNKNOWN = "unknown"
    PROBING = "probing"
    OPEN = "open"
    CLOSED = "closed"


def probe_pauses(tries: int, window_s: float) -> list[float]:
    """Pauses between ``tries`` attempts to connect, in seconds: growing, ``window_s`` in total.

    Fly does not document the pauses. Growing pauses detect a quick start early.
    """
    unit = window_s / (tries * (tries + 1) / 2)
    return [unit * number for number in range(1, tries + 1)]


class PortProbe:
    """Tries to connect to a port. ``state`` is the result so far; ``found`` is called when it becomes open or closed.

    ``local`` is the address to connect from, None for any.
    """

    def __init__(
        self,
        settings: FlySettings,
        local: Address | None,
        found: Callable[[], None],
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings, self._local, self._found, self._paused = settings, local, found, paused
        self.state = Port.UNKNOWN
        self._task: asyncio.Task[None] | None = None

    def begin(self, address: Address, *, wait_s: float, dev: bool) -> None:
        """Start to try, for ``wait_s`` seconds in total. With ``dev`` the pauses are short."""
        if self._task:
            self._task.cancel()
        self.state = Port.PROBING
        self._task = asyncio.create_task(self._try_all(address, wait_s, dev))

    def reset(self, state: Port = Port.UNKNOWN) -> None:
        """Stop trying, and set the state."""
        if self._task:
            self._task.cancel()
        self.state = state

    async def _try_all(self, address: Address, wait_s: float, dev: bool) -> None:
        """Try as often as the edge does, which is how long requests wait; then continue until the deploy's deadline."""
        settings, loop = self._settings, asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        pauses = probe_pauses(settings.start_tries, settings.start_window_s)
        if dev:
            pauses = [DEV_PAUSE_S] * round(settings.start_window_s / DEV_PAUSE_S)
        for pause in pauses:
            if await self._opened(address, pause):
                return
        while self._paused():  # a breakpoint in code that runs before the port opens
            if await self._opened(address, DEV_PAUSE_S):
                return
        self._report(Port.CLOSED)
        while loop.time() < deadline:
            if await self._opened(address, LATE_PAUSE_S):
                return

    async def _opened(self, address: Address, pause: float) -> bool:
        """Try to connect once; takes ``pause`` seconds unless the port is open."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(max(pause, CONNECT_WAIT_S)):
                _, writer = await asyncio.open_connection(*address, local_addr=self._local)
            writer.close()
        except (OSError, TimeoutError):
            await asyncio.sleep(max(0.0, pause - (loop.time() - began)))
            return False
        self._report(Port.OPEN)
        return True

    def _report(self, state: Port) -> None:
        self.state = state
        self._found()
