"""The request's body as far as it came: kept while a Machine starts, and for as long as it might be sent again."""

from __future__ import annotations

from parity.fly.edge.headers import Headers
from parity.fly.edge.replay import BODY_LIMIT, Budget


class KeptBody:
    """Pieces of a body. ``complete`` is False once a part has been let go: the request cannot be sent again."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._pieces: list[bytes] = []
        self.size = 0
        self.complete = True
        self.ended = False
        self.trailers: Headers = []

    def add(self, data: bytes, *, must_keep: bool) -> None:
        """Keep ``data``. Without ``must_keep`` (it is already on its way) everything is let go at the limits."""
        if not self.complete:
            return
        if self.size + len(data) > BODY_LIMIT or not self._budget.take(len(data)):
            if not must_keep:
                self.release()
                return
            self._budget.give(-len(data))
        self._pieces.append(data)
        self.size += len(data)

    def end(self, trailers: Headers) -> None:
        self.ended = True
        self.trailers = trailers

    def pieces(self) -> list[bytes]:
        return list(self._pieces)

    def release(self) -> None:
        """Let everything go."""
        self._budget.give(self.size)
        self._pieces.clear()
        self.size = 0
        self.complete = False
