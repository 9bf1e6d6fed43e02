"""How a Machine that wants to write gets a profile from another one that never pauses.

Whoever writes without a pause wins every next TXID: a claimant always learns of the newest file later than the one who
wrote it. So the claimant leaves a request beside the replica, and a busy owner looks for one now and then, gives the
profile up and waits for as long as the claimant needs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from app.replication.core import courtesy, request_due
from app.replication.store import ReplicaStore, StoreError

# What the longest upload still counts after another one.
_FADING = 0.95
logger = logging.getLogger(__name__)


class Handover:
    """One owner's part in it. ``node`` is the owner's; ``now`` a monotonic clock in seconds."""

    def __init__(self, store: ReplicaStore, node: int, now: Callable[[], float]) -> None:
        self._store, self._node, self._now = store, node, now
        self._uploads = 0
        self._ended = 0.0
        self._looked = now()
        self._took = 0.0
        self._wanted = False
        self._waits_until: float | None = None
        self._task: asyncio.Task[None] | None = None

    def uploaded(self, seconds: float) -> bool:
        """Note an upload that took so long; whether the profile is to be given up now.

        One who pauses between uploads is never asked and never asks: others get their chance without.
        """
        now = self._now()
        self._took = max(seconds, _FADING * self._took)
        paused = now - seconds - self._ended > courtesy(self._took)
        self._uploads, self._ended = 1 if paused else self._uploads + 1, now
        if self._wanted:
            self._wanted = False
            self._waits_until = now + courtesy(self._took)
            return True
        if self._task is None and request_due(self._uploads, now - self._looked):
            self._task = asyncio.ensure_future(self._look())
        return False

    async def courtesy(self) -> None:
        """Wait until who asked for the profile had time to claim it."""
        if self._waits_until is not None:
            await asyncio.sleep(self._waits_until - self._now())
            self._waits_until = None

    async def end(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _look(self) -> None:
        try:
            self._wanted = await self._store.take_request(self._node)
        except StoreError as error:
            logger.info("Whether another Machine wants a profile is not known: %s", error)
        finally:
            self._uploads, self._looked, self._task = 0, self._now(), None
