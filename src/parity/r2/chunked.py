"""``aws-chunked`` bodies, decoded while they arrive. Signatures of chunks are not checked: R2 refuses
such bodies."""

from __future__ import annotations

from parity.r2.errors import R2Error, incomplete_body, invalid_request

# The longest chunk header line or trailer that is accepted; real clients send much shorter ones.
_MAX_LINE = 8192


class ChunkedDecoder:
    """``feed`` takes bytes from the wire and returns those of the payload; ``trailers`` are set once it is
    ``complete``."""

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._state = "size"
        self.trailers: dict[str, str] = {}

    @property
    def complete(self) -> bool:
        return self._state == "done"

    def feed(self, data: bytes) -> bytes:
        """Raises ``R2Error`` 400 for what is not aws-chunked."""
        self._buffer += data
        out: list[bytes] = []
        while self._step(out):
            pass
        if self._state != "data" and len(self._buffer) > _MAX_LINE:
            raise _malformed()
        return b"".join(out)

    def _step(self, out: list[bytes]) -> bool:
        if self._state == "data":
            taken = self._buffer[: self._left]
            out.append(taken)
            self._buffer = self._buffer[len(taken) :]
            self._left -= len(taken)
            if self._left:
                return False
            self._state = "end"
            return True
        if self._state == "done":
            if self._buffer:
                raise _malformed()
            return False
        line, newline, rest = self._buffer.partition(b"\r\n")
        if not newline:
            return False
        self._buffer = rest
        self._line(line)
        return True

    def _line(self, line: bytes) -> None:
        if self._state == "end":
            if line:
                raise _malformed()
            self._state = "size"
        elif self._state == "size":
            try:
                self._left = int(line.partition(b";")[0], 16)
            except ValueError:
                raise _malformed() from None
            if self._left < 0:
                raise _malformed()
            self._state = "data" if self._left else "trailer"
        elif not line:
            self._state = "done"
        else:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise _malformed()
            self.trailers[name.strip().lower()] = value.strip()

    def finish(self) -> None:
        if not self.complete:
            raise incomplete_body()


def _malformed() -> R2Error:
    return invalid_request("The body is not valid aws-chunked encoding.")
