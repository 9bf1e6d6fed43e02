"""A limit on concurrent calls that is shared fairly between lanes, such as profiles."""

import asyncio


class Lanes:
    """At most `size` calls at a time. A lane may take another slot only while it holds fewer slots than are free, so
    one busy lane takes at most half, and a second one at most half of the rest. Belongs to one event loop."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._taken: dict[str, int] = {}
        self._waiting: dict[asyncio.Future[None], str] = {}

    async def enter(self, lane: str) -> None:
        """Returns when there is room; `leave` gives it back."""
        if self._fits(lane):
            self._take(lane)
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[admitted] = lane
        try:
            await admitted
        except asyncio.CancelledError:
            if self._waiting.pop(admitted, None) is None:
                self.leave(lane)  # admitted at the same moment
            raise

    def leave(self, lane: str) -> None:
        self._free += 1
        self._taken[lane] -= 1
        if not self._taken[lane]:
            del self._taken[lane]
        for admitted, waiting in list(self._waiting.items()):
            if self._fits(waiting) and not admitted.done():
                del self._waiting[admitted]
                self._take(waiting)
                admitted.set_result(None)

    def _fits(self, lane: str) -> bool:
        return self._taken.get(lane, 0) < self._free

    def _take(self, lane: str) -> None:
        self._free -= 1
        self._taken[lane] = self._taken.get(lane, 0) + 1
