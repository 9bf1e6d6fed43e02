"""Sends the response to the client: rewrites its head and compresses its body where Fly does."""

from __future__ import annotations

from collections.abc import Callable

from parity.fly.edge.compress import COMPRESSORS, Compressor, coding_for, compressed_headers
from parity.fly.edge.context import EdgeContext
from parity.fly.edge.headers import Headers, response_to_client, value_of
from parity.fly.edge.log import Entry
from parity.fly.edge.request import Body, Request, Stream


class Answer:
    """The response of one exchange. ``entry`` records what is sent; ``elapsed`` returns the exchange's age in ms."""

    def __init__(
        self, context: EdgeContext, stream: Stream, request: Request, entry: Entry, elapsed: Callable[[], float]
    ) -> None:
        self._context, self._stream, self._request = context, stream, request
        self._entry, self._elapsed = entry, elapsed
        self._compressor: Compressor | None = None
        # Whether the client was sent a head; an informational one does not count.
        self.begun = False

    def informational(self, status: int, headers: Headers) -> None:
        if not self.begun:
            self._stream.send_informational(status, self._rewritten(headers))

    def head(self, status: int, headers: Headers, body: Body) -> None:
        """The app's head."""
        coding = self._coding(status, headers)
        if coding:
            self._compressor = COMPRESSORS[coding]()
            headers = compressed_headers(headers, coding)
        self._send_head(status, headers, body=body is not Body.NONE)

    def empty(self, status: int) -> None:
        """The edge's own head, of an answer without a body."""
        self._send_head(status, [(b"content-length", b"0")], body=False)

    def data(self, data: bytes) -> None:
        if self._compressor:
            data = self._compressor.compress(data)
        if data and self.begun:
            self._send(data)

    def rest(self) -> None:
        """What the compressor still holds: the body is complete."""
        if self._compressor:
            self._send(self._compressor.finish())

    def tunnel(self, headers: Headers) -> None:
        """The app's 101: from here on bytes go both ways."""
        shown = self._note_head(101, headers)
        self._stream.open_tunnel([*shown, (b"connection", b"Upgrade"), (b"upgrade", b"websocket")])

    def _send_head(self, status: int, headers: Headers, *, body: bool) -> None:
        self._stream.send_head(status, self._note_head(status, headers), body=body)

    def _note_head(self, status: int, headers: Headers) -> Headers:
        self.begun = True
        shown = self._rewritten(headers)
        self._entry.status, self._entry.to_client, self._entry.head_ms = status, shown, self._elapsed()
        return shown

    def _send(self, data: bytes) -> None:
        self._entry.bytes_out += len(data)
        self._stream.send_body(data)

    def _coding(self, status: int, headers: Headers) -> bytes | None:
        if not self._context.config.service.http_options.compress:
            return None
        settings = self._context.settings
        accepted = value_of(self._request.headers, b"accept-encoding")
        method, skip, least = self._request.method, settings.compress_skip, settings.compress_min
        return coding_for(method, accepted, status, headers, skip, least)

    def _rewritten(self, headers: Headers) -> Headers:
        return response_to_client(
            headers,
            self._request.origin.protocol,
            self._entry.id.encode(),
            pristine=self._context.config.service.http_options.response.pristine,
            extra=self._context.response_headers,
        )
