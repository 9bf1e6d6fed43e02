"""Ends connections on which a request's head does not arrive completely in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from parity.fly.edge.context import EdgeContext


class HeadClock:
    """Calls ``expired`` when a head that began is not complete in time: ``http_options.headers_read_timeout``, else
    ``PARITY_FLY_HEAD_TIMEOUT_S``."""

    def __init__(self, context: EdgeContext, expired: Callable[[], None]) -> None:
        configured = context.config.service.http_options.headers_read_timeout
        self._limit_s = configured or context.settings.head_timeout_s
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Start the timeout: the first byte of a head has arrived."""
        if self._timer is None and self._limit_s:
            self._timer = asyncio.get_running_loop().call_later(self._limit_s, self._expired)

    def end(self) -> None:
        """The head is complete, or the connection is closed."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
