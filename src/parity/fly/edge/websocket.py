"""Tracks where frames end in the bytes of a WebSocket, so that a close frame can be inserted between two frames."""

from __future__ import annotations


class FrameTracker:
    """Knows, after each piece of a stream of frames, whether it ended between two frames (RFC 6455, section 5.2)."""

    def __init__(self) -> None:
        self._left = 0
        self._head = bytearray()

    @property
    def between(self) -> bool:
        """Whether the bytes seen so far end at a frame's end."""
        return self._left == 0 and not self._head

    def feed(self, data: bytes, *, stop_between: bool = False) -> int:
        """Follow ``data``. Returns how many bytes were taken: all, or with ``stop_between`` those up to the first
        frame's end."""
        position, size = 0, len(data)
        while position < size:
            if stop_between and position and self.between:
                break
            if self._left:
                step = min(self._left, size - position)
                self._left -= step
                position += step
                continue
            head = self._head
            head.append(data[position])
            position += 1
            if len(head) >= 2:
                length = head[1] & 127
                wanted = 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if head[1] & 128 else 0)
                if len(head) == wanted:
                    extended = bytes(head[2 : 2 + (2 if length == 126 else 8 if length == 127 else 0)])
                    self._left = int.from_bytes(extended, "big") if extended else length
                    head.clear()
        return position


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """An unmasked close frame, as a server sends it. ``reason`` is at most 123 bytes."""
    payload = code.to_bytes(2, "big") + reason
    return bytes((0x88, len(payload))) + payload
