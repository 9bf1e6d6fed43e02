"""A limit on concurrent calls that is shared fairly between groups of callers, such as profiles."""

import asyncio


class FairLimit:
    """At most `size` calls run at a time. A group may take another slot only while it holds fewer slots than are free,
    so one busy group takes at most half of them, and a second one at most half of the rest.

    Belongs to one event loop."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._taken: dict[str, int] = {}
        self._waiting: dict[asyncio.Future[None], str] = {}

    async def acquire(self, group: str) -> None:
        """Wait for a free slot; `release` returns it."""
        if self._fits(group):
            self._take(group)
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[admitted] = group
        try:
            await admitted
        except asyncio.CancelledError:
            if self._waiting.pop(admitted, None) is None:
                self.release(group)  # the slot was granted at the same moment
            raise

    def release(self, group: str) -> None:
        self._free += 1
        self._taken[group] -= 1
        if not self._taken[group]:
            del self._taken[group]
        for admitted, waiting in list(self._waiting.items()):
            if self._fits(waiting) and not admitted.done():
                del self._waiting[admitted]
                self._take(waiting)
                admitted.set_result(None)

    def _fits(self, group: str) -> bool:
        return self._taken.get(group, 0) < self._free

    def _take(self, group: str) -> None:
        self._free -= 1
        self._taken[group] = self._taken.get(group, 0) + 1
