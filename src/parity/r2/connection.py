"""uvicorn's HTTP protocol with access to the connection: faults close it, and the write window identifies it."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "parity.r2.connection"
# Seconds that a client has for a request's head, from the connection or from the first byte of a later request.
HEAD_SECONDS = 60.0
_numbers = itertools.count(1)
_PLAIN = bytes(range(0x21, 0x7F))
_ESCAPED = {byte: b"%%%02X" % byte for byte in range(256) if byte not in _PLAIN}
# Slightly more than the event loop decrypts in one read.
_BUFFER_SIZE = (256 << 10) + 4096


class _Buffer(threading.local):
    """One for each event loop, which read by read is done with it before the next."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_BUFFER_SIZE))


_buffer = _Buffer()


class R2Protocol(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.number = next(_numbers)
        self._lost = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._head_came()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        """Start the deadline for a request's head; uvicorn itself has none."""
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        self._expect_head()
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: {"connection": self}}

    def on_url(self, url: bytes) -> None:
        # uvicorn decodes the path as ASCII, so bytes that a client failed to percent-encode are encoded here.
        if any(byte in _ESCAPED for byte in url):
            url = b"".join(_ESCAPED.get(byte, bytes((byte,))) for byte in url)
        super().on_url(url)

    def shutdown(self) -> None:
        """The server stops: an idle connection ends at once, without waiting 30 s for the client's TLS goodbye."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
        else:
            super().shutdown()

    @property
    def gone(self) -> bool:
        """Whether the connection is closed, so that nothing sent can arrive."""
        return self._lost or self.transport.is_closing()

    @property
    def body_waits(self) -> bool:
        """Whether part of the body has arrived and has not been received by the app yet."""
        return self.cycle is not None and bool(self.cycle.body)

    def abort(self) -> None:
        """Close the connection now, without sending the answer or its remaining bytes."""
        if self.cycle is not None:
            # Set before uvicorn notices the disconnect itself: it would log the missing answer as an error of the app.
            self.cycle.disconnected = True
        self.transport.abort()


class BufferedConnection(asyncio.BufferedProtocol):
    """An `R2Protocol` that gets what arrives in a buffer, which all connections of a loop share: it is parsed at once.

    Without it each TLS record of 16 KiB is decrypted into a new piece of memory of 256 KiB, cut to size, and joined
    with its neighbours: a third of what an upload costs beside its digest.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._protocol = R2Protocol(*args, **options)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._protocol.connection_made(transport)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return _buffer.view

    def buffer_updated(self, nbytes: int) -> None:
        self._protocol.data_received(_buffer.view[:nbytes])  # type: ignore[arg-type]  # any buffer is parsed

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
