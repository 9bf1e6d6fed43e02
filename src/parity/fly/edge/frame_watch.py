"""Finds out whether an HTTP/2 client is in the middle of a request's head. It counts bytes and decodes no frames.

This is needed because ``h2`` reports a head only when it is complete. A DATA frame has no time limit.
"""

from __future__ import annotations

PREFACE_SIZE = 24
FRAME_HEADER_SIZE = 9
HEADERS, CONTINUATION = 1, 9
END_HEADERS = 0x4


class FrameWatch:
    """Fed with every byte that the client sends. ``finished`` counts heads and other frames that became complete."""

    def __init__(self) -> None:
        self.finished = 0
        self._preface = PREFACE_SIZE
        self._header = bytearray()
        self._left = 0  # bytes of the current frame's payload that are still to come
        self._in_payload = False
        self._open_head = False  # a HEADERS frame without END_HEADERS: CONTINUATION follows

    @property
    def in_head(self) -> bool:
        """Whether a preface, a frame's own header or a request's head has begun and is not complete."""
        if self._preface:
            return self._preface < PREFACE_SIZE
        if self._in_payload:
            return self._header[3] in (HEADERS, CONTINUATION)
        return bool(self._header) or self._open_head

    def feed(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._preface:
                taken = min(self._preface, len(data) - at)
                self._preface -= taken
                at += taken
            elif not self._in_payload:
                taken = min(FRAME_HEADER_SIZE - len(self._header), len(data) - at)
                self._header += data[at : at + taken]
                at += taken
                if len(self._header) == FRAME_HEADER_SIZE:
                    self._left, self._in_payload = int.from_bytes(self._header[:3]), True
                    self._complete()
            else:
                taken = min(self._left, len(data) - at)
                self._left -= taken
                at += taken
                self._complete()

    def _complete(self) -> None:
        """The frame ends here when all of its payload is there."""
        if self._left:
            return
        if self._header[3] in (HEADERS, CONTINUATION):
            self._open_head = not self._header[4] & END_HEADERS
        if not self._open_head:
            self.finished += 1
        self._header.clear()
        self._in_payload = False
