"""Asks the deployed GPU functions which payloads they accept: some seconds after the start, and then at intervals.

The deployed functions may be older than the backend. Jobs that they cannot do run on the Machine, and the log and
/api/status say so. No job waits for the answer: without one the call is tried, and a refused payload runs on the
Machine too.
"""

import asyncio
import contextlib
import logging
from typing import Final

from app.services.modal_client import ModalClient
from app.services.worker import WorkFailed
from reel import forms
from reel.payloads import APP_NAME, ExtractClip, RenderReel

log = logging.getLogger(__name__)

# Modal's SDK takes 0.4 s of the CPU to load, which the first requests after a cold start need more.
FIRST_SECONDS: Final = 3.0
# An answer costs a container of an eighth of a CPU for some seconds.
AGAIN_SECONDS: Final = 3600.0
PROBLEM_AGAIN_SECONDS: Final = 120.0


class GpuDeploy:
    """The last description that the deployed functions returned."""

    def __init__(self, client: ModalClient) -> None:
        self._client = client
        self._taken: forms.Taken | None = None
        self._ask_now = asyncio.Event()
        self.problem: str | None = None
        """The problem of the deployed functions and what to do; empty without one."""

    async def watch(self) -> None:
        """Ask at intervals; never returns."""
        await self._wait(FIRST_SECONDS)
        while True:
            try:
                self._taken = await self._client.describe()
                self._say(self._compared())
            except WorkFailed as error:
                self._say(f"The GPU functions did not answer which payloads they accept: {error}")
            await self._wait(PROBLEM_AGAIN_SECONDS if self.problem else AGAIN_SECONDS)

    async def _wait(self, seconds: float) -> None:
        """Sleep for this time, or until a payload is refused."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ask_now.wait()
        self._ask_now.clear()

    def _compared(self) -> str | None:
        if self._taken is None:
            lacking = "cannot report which payloads they accept"
        elif found := forms.beyond(forms.taken(), self._taken):
            lacking = f"do not know {', '.join(found)}"
        else:
            return None
        return (
            f"The deployed GPU functions ({APP_NAME}) are older than this release: they {lacking}. Jobs that need more"
            " run on the Machine, which is slower. Deploy src/gpu again (make deploy-gpu)"
        )

    def _say(self, problem: str | None) -> None:
        if problem and problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem

    def lacks(self, payload: RenderReel | ExtractClip) -> list[str]:
        """The fields and values of this payload that the deployed functions do not know, by their last description."""
        return [] if self._taken is None else forms.beyond(forms.needed(payload), self._taken)

    def refused(self, reason: str) -> None:
        """A call refused its payload, so the deployed functions have changed: ask again."""
        log.warning("%s", reason)
        self._ask_now.set()
