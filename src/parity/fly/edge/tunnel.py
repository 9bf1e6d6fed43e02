"""Passes the bytes of a WebSocket from the Machine to the client, and can insert the edge's own close frame."""

from __future__ import annotations

from collections.abc import Callable

from parity.fly.edge.websocket import FrameTracker, close_frame


class Tunnel:
    """``send`` sends bytes to the client. ``said_goodbye`` is called with the code when the edge has sent its close
    frame; from then on the Machine's bytes are dropped."""

    def __init__(self, send: Callable[[bytes], None], said_goodbye: Callable[[int], None]) -> None:
        self._send, self._said_goodbye = send, said_goodbye
        self._frames = FrameTracker()
        self._code: int | None = None
        self._done = False

    def pass_on(self, data: bytes) -> None:
        """Bytes of the Machine."""
        if self._done:
            return
        if self._code is None:
            self._frames.feed(data)
            self._send(data)
            return
        taken = self._frames.feed(data, stop_between=True)
        self._send(data[:taken])
        self._close_between()

    def goaway(self, code: int) -> None:
        """Send a close frame with ``code`` after the current frame, or immediately if there is none."""
        if self._code is None:
            self._code = code
            self._close_between()

    def _close_between(self) -> None:
        if self._code is not None and self._frames.between:
            self._done = True
            self._send(close_frame(self._code))
            self._said_goodbye(self._code)
