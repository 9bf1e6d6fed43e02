"""Finds out whether a Machine's internal port is open, by trying to connect after each start, as Fly's edge does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from parity.fly.machines.driver import Address
from parity.fly.settings import FlySettings

# Between two tries of a port that did not open in time, in seconds.
LATE_PAUSE_S = 1.0
# Between two tries of the port of a Machine that runs the working tree: someone waits for each.
DEV_PAUSE_S = 0.03
# How long one try of the port may take to connect, at least, in seconds.
CONNECT_WAIT_S = 0.5


class Port(Enum):
    """Whether the internal port of a started Machine accepts connections."""

    UNKNOWN = "unknown"
    PROBING = "probing"
    OPEN = "open"
    CLOSED = "closed"


def probe_pauses(tries: int, window_s: float) -> list[float]:
    """Seconds from each try of a starting Machine's port to the next: growing, ``window_s`` in all.

    Fly's own spacing is not documented; growing pauses cost a quick start little.
    """
    unit = window_s / (tries * (tries + 1) / 2)
    return [unit * number for number in range(1, tries + 1)]


class PortProbe:
    """Tries a port; ``state`` is what is known, ``found`` is called when a try made it open or the last made it closed.

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
        """Try again and again; ``dev``: at short pauses. A port that opens late is found for ``wait_s`` seconds."""
        if self._task:
            self._task.cancel()
        self.state = Port.PROBING
        self._task = asyncio.create_task(self._try_all(address, wait_s, dev))

    def reset(self, state: Port = Port.UNKNOWN) -> None:
        """Stop trying; ``state`` is what is known from now on."""
        if self._task:
            self._task.cancel()
        self.state = state

    async def _try_all(self, address: Address, wait_s: float, dev: bool) -> None:
        """Requests wait for as many tries as the edge makes. An app that opens its port later is found out as long as
        a deploy would wait for it."""
        settings, loop = self._settings, asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        pauses = probe_pauses(settings.start_tries, settings.start_window_s)
        if dev:
            pauses = [DEV_PAUSE_S] * round(settings.start_window_s / DEV_PAUSE_S)
        for pause in pauses:
            if await self._opened(address, pause):
                return
        while self._paused():  # a breakpoint in what runs before the port opens
            if await self._opened(address, DEV_PAUSE_S):
                return
        self._say(Port.CLOSED)
        while loop.time() < deadline:
            if await self._opened(address, LATE_PAUSE_S):
                return

    async def _opened(self, address: Address, pause: float) -> bool:
        """One try of the port, which takes ``pause`` seconds unless the port is open."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(max(pause, CONNECT_WAIT_S)):
                _, writer = await asyncio.open_connection(*address, local_addr=self._local)
            writer.close()
        except (OSError, TimeoutError):
            await asyncio.sleep(max(0.0, pause - (loop.time() - began)))
            return False
        self._say(Port.OPEN)
        return True

    def _say(self, state: Port) -> None:
        self.state = state
        self._found()
