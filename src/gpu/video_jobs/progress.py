"""How far a render is, in a modal.Dict: it can be read after a restart of the app, and by any Machine."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from reel.payloads import RenderProgress

INTERVAL_S = 0.5

Put = Callable[[str, dict[str, object]], Awaitable[object]]


class ProgressReport:
    """A `reel.render.Report`: writes a change of phase at once, of the number twice a second at most."""

    def __init__(self, export_id: str, put: Put, clock: Callable[[], float] = time.time) -> None:
        self._export_id, self._put, self._clock = export_id, put, clock
        self._written_at, self._phase = 0.0, ""

    async def __call__(self, progress: float, phase: str) -> None:
        now = self._clock()
        if phase == self._phase and now - self._written_at < INTERVAL_S:
            return
        self._written_at, self._phase = now, phase
        value = RenderProgress(progress=min(1.0, max(0.0, progress)), phase=phase, updated_at=now)
        await self._put(self._export_id, value.to_dict())
