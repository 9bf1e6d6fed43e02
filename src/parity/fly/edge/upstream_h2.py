"""A connection from the edge to a Machine in HTTP/2 without TLS, for ``http_options.h2_backend``.

One exchange at a time, as with HTTP/1.1, so that both use the same pool. Fly's proxy may send several at once on a
connection; the number is not documented [U]. It uses prior knowledge, so an app without HTTP/2 gives 502.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from parity.fly.edge.connection import AppConnection, Client
from parity.fly.edge.headers import HOP_BY_HOP, Headers, value_of
from parity.fly.edge.request import Body, Request

if TYPE_CHECKING:
    from parity.fly.edge.upstream import Pool

# Windows that the edge grants the app: one stream's, and the connection's.
STREAM_WINDOW, CONNECTION_WINDOW = 256 * 1024, 1024 * 1024
# Bytes of a request that wait for the app's window before reading from the client stops.
OUT_HIGH_WATER = 128 * 1024


def h2_headers(request: Request, headers: Headers) -> Headers:
    """The request's head as HTTP/2 has it; ``headers`` are those for the app in HTTP/1.1's form."""
    authority = value_of(headers, b"host") or b""
    pseudo = [
        (b":method", request.method),
        (b":scheme", b"http"),
        (b":authority", authority),
        (b":path", request.target),
    ]
    kept = [(name.lower(), value) for name, value in headers if name.lower() not in HOP_BY_HOP | {b"host"}]
    wants = (value_of(request.headers, b"te") or b"").lower().split(b",")
    trailers = [(b"te", b"trailers")] if b"trailers" in [part.strip() for part in wants] else []
    return [*pseudo, *kept, *trailers]


class H2Upstream(AppConnection):
    """After ``begin`` it drives a ``Client`` until ``app_end`` or ``app_failed``."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._stream = 0
        self._out = bytearray()
        self._ends: Headers | None = None  # trailers of the request, once it is complete
        self._sent_end = False
        self._no_body = False
        self._answered = False
        self._trailers: Headers = []
        self._heard = False  # the app sent an HTTP/2 frame
        self._going = False  # the app sent GOAWAY
        self._h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._h2.local_settings = Settings(
            client=True,
            initial_values={SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW},
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW)
        self._flush()

    # the exchange

    def begin(self, client: Client, request: Request, headers: Headers) -> None:
        """Send a request's head and serve ``client`` from now on."""
        self._client = client
        self._out.clear()
        self._ends, self._trailers = None, []
        self._answered, self._no_body = False, request.method == b"HEAD"
        self._sent_end = request.body is Body.NONE
        self._stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self._stream, h2_headers(request, headers), end_stream=self._sent_end)
        self._flush()

    def send_body(self, data: bytes) -> None:
        self._out += data
        self._push()
        if len(self._out) > OUT_HIGH_WATER and self._client:
            self._client.app_write_paused()

    def send_end(self, trailers: Headers) -> None:
        """The request is complete."""
        self._ends = trailers
        self._push()

    def write(self, data: bytes) -> None:
        """Bytes of a tunnel: there is none on this connection."""
        raise AssertionError(f"{len(data)} bytes of a WebSocket on an HTTP/2 connection")

    def close_tunnel(self) -> None:
        self.abandon()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as error:
            self._fail(f"the Machine does not speak HTTP/2 without TLS (h2_backend): {error}", clean=False)
            self.transport.abort()
            return
        self._heard = self._heard or bool(events)
        for event in events:
            self._handle(event)
        self._push()
        if self._client:
            self._client.app_flush()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._pool.forget(self)
        reason = "the Machine closed the connection" if error is None else str(error)
        if not self._heard:
            reason += "; it sent no HTTP/2 frame, but h2_backend requires HTTP/2 without TLS"
        self._fail(reason, clean=error is None)

    def _handle(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self._going = True
            return
        client = self._client
        if client is None or getattr(event, "stream_id", None) not in (self._stream, 0):
            return
        if isinstance(event, InformationalResponseReceived):
            client.app_informational(*_status_of(event.headers))
        elif isinstance(event, ResponseReceived):
            self._answered = True
            status, headers = _status_of(event.headers)
            bodyless = self._no_body or status in (204, 304)
            sized = value_of(headers, b"content-length") is not None
            client.app_head(status, headers, Body.NONE if bodyless else Body.LENGTH if sized else Body.CHUNKED)
        elif isinstance(event, DataReceived):
            client.app_data(event.data)
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            self._trailers = list(event.headers)
        elif isinstance(event, StreamEnded):
            self._finish()
        elif isinstance(event, StreamReset):
            # NO_ERROR after a complete response only means that the rest of the request is not needed.
            self._fail(f"the Machine reset the stream ({event.error_code})", clean=False)

    # writing

    def _push(self) -> None:
        """Send as much of the request as the app's windows allow."""
        if self._client is None or self._sent_end or self.closed:
            self._flush()
            return
        waited = bool(self._out)
        while self._out:
            room = min(self._h2.local_flow_control_window(self._stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                break
            self._h2.send_data(self._stream, bytes(self._out[:room]))
            del self._out[:room]
        if not self._out and self._ends is not None:
            self._sent_end = True
            if self._ends:
                self._h2.send_headers(self._stream, [(n.lower(), v) for n, v in self._ends], end_stream=True)
            else:
                self._h2.end_stream(self._stream)
        self._flush()
        if waited and not self._out:
            self._client.app_write_resumed()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self.closed and not self.transport.is_closing():
            self.transport.write(data)

    def _finish(self) -> None:
        client, self._client = self._client, None
        assert client is not None
        if not self._sent_end:
            # The response is complete, so the rest of the request is not needed.
            self._h2.reset_stream(self._stream, ErrorCodes.NO_ERROR)
            self._flush()
        if self.closed or self._going:
            self.transport.close()
        else:
            self.resume_reading()
            self._pool.put(self)
        client.app_end(self._trailers)
        client.app_flush()


def _status_of(headers: Headers) -> tuple[int, Headers]:
    status = next(int(value) for name, value in headers if name == b":status")
    return status, [pair for pair in headers if not pair[0].startswith(b":")]
