"""Buffers a request's body while a Machine starts, and while the request may be sent again."""

from __future__ import annotations

from parity.fly.edge.headers import Headers

# A request with a longer body cannot be replayed, in bytes (superfly/docs: "larger than 1MB", November 2026).
BODY_LIMIT = 1_000_000
# Buffered bodies of all exchanges together, in bytes. Above that a request cannot be replayed, so memory is bounded.
TOTAL_LIMIT = 64 * 1024 * 1024


class Budget:
    """Bytes that all kept bodies may take together."""

    def __init__(self, limit: int = TOTAL_LIMIT) -> None:
        self._left = limit

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes; False when there is no room."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        self._left += size


class KeptBody:
    """Pieces of a body. If ``complete`` is False, a part was dropped and the request cannot be sent again."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._pieces: list[bytes] = []
        self.size = 0
        self.complete = True
        self.ended = False
        self.trailers: Headers = []

    def add(self, data: bytes, *, must_keep: bool) -> None:
        """Buffer ``data``. Without ``must_keep`` (it was sent already) everything is dropped at the limits."""
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
        """Drop everything."""
        self._budget.give(self.size)
        self._pieces.clear()
        self.size = 0
        self.complete = False
