"""HTTP/2 connections of clients: streams with flow control in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from parity.fly.edge.context import EdgeContext
from parity.fly.edge.exchange import Exchange
from parity.fly.edge.frame_watch import FrameWatch
from parity.fly.edge.head_clock import HeadClock
from parity.fly.edge.headers import Headers, Origin, value_of
from parity.fly.edge.listening import ClientEnd
from parity.fly.edge.refusal import refuse
from parity.fly.edge.request import Body, Request

# Bytes of a response that wait for the client's window. Reading from the Machine stops above the first value, and
# resumes below the second.
OUT_HIGH_WATER, OUT_LOW_WATER = 128 * 1024, 32 * 1024
# Flow-control windows of the edge, in bytes: for a stream, and for the connection.
STREAM_WINDOW, CONNECTION_WINDOW = 256 * 1024, 1024 * 1024
MAX_STREAMS = 128
# How long the edge goes on reading and dropping the body of a request that was answered before it ended, in seconds
# (nginx's lingering_time is the same). A reset that comes with the response is allowed (RFC 9113, section 8.1), but
# curl 7.88 then fails with error 92, and httpx 0.28 waits for window until its timeout (measured 2026-11-28). What Fly
# does is not known.
LINGER_S = 30.0
# A head is read up to this multiple of the limit, so that a larger one can be answered with 431.
HEAD_ROOM = 4
WRITE_HIGH_WATER = 256 * 1024


class Http2Stream:
    """One stream. It buffers the Machine's response until the client's window allows to send it."""

    def __init__(self, connection: Http2Connection, stream_id: int, method: bytes) -> None:
        self._connection, self.id, self._method = connection, stream_id, method
        self.exchange: Exchange
        self.out = bytearray()
        self.ended = False
        self.trailers: Headers = []
        self._no_body = False
        self._stalled = False
        self.held: int | None = None  # bytes not yet acknowledged while the request's body is paused

    def send_informational(self, status: int, headers: Headers) -> None:
        self._connection.send_headers(self, status, headers, end=False)

    def send_head(self, status: int, headers: Headers, *, body: bool) -> None:
        self._no_body = not body or self._method == b"HEAD"
        self._connection.send_headers(self, status, headers, end=self._no_body)

    def send_body(self, data: bytes) -> None:
        if not self._no_body:
            self.out += data

    def send_end(self, trailers: Headers) -> None:
        if self._no_body:
            self._connection.forget(self)
            return
        self.ended, self.trailers = True, trailers
        self._connection.push(self)

    def abort(self) -> None:
        self._connection.reset(self, ErrorCodes.INTERNAL_ERROR)

    def open_tunnel(self, headers: Headers) -> None:  # noqa: ARG002 - required by the interface
        self.abort()  # unreachable: HTTP/2 has WebSockets only with extended CONNECT, which is not offered

    def send_raw(self, data: bytes) -> None:
        self.send_body(data)

    def close_tunnel(self) -> None:
        self.abort()

    def pause_body(self) -> None:
        self.held = self.held or 0

    def resume_body(self) -> None:
        held, self.held = self.held, None
        if held:
            self._connection.acknowledge(self, held)

    def flush(self) -> None:
        self._connection.push(self)

    def watermark(self) -> None:
        """Pause or resume reading from the Machine, according to the size of the buffer."""
        if len(self.out) > OUT_HIGH_WATER and not self._stalled:
            self._stalled = True
            self.exchange.client_write_paused()
        elif self._stalled and len(self.out) < OUT_LOW_WATER:
            self._stalled = False
            self.exchange.client_write_resumed()


class Http2Connection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, context: EdgeContext, end: ClientEnd) -> None:
        self._context, self._end = context, end
        self.transport: asyncio.Transport
        self._streams: dict[int, Http2Stream] = {}
        # Answered streams whose request has not ended.
        self._lingering: dict[int, asyncio.TimerHandle] = {}
        self._writable = True
        self._watch = FrameWatch()
        self._clock = HeadClock(context, self._head_overdue)
        # The app's headers are forwarded without validation.
        self._h2 = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        # Set before the preface is sent, because h2 must count with the announced windows from the start.
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEAD_ROOM * self._context.settings.head_limit,
            },
        )
        self._h2.decoder.max_header_list_size = HEAD_ROOM * self._context.settings.head_limit
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW)
        self._flush()

    # reading

    def data_received(self, data: bytes) -> None:
        self._watch_head(data)
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self._flush()
            self.transport.close()
            return
        for event in events:
            self._handle(event)
        self._flush()

    def _watch_head(self, data: bytes) -> None:
        """Start or stop the timeout of an incomplete head, which blocks everything else on the connection."""
        before = self._watch.finished
        self._watch.feed(data)
        if self._watch.finished != before or not self._watch.in_head:
            self._clock.end()
        if self._watch.in_head:
            self._clock.begin()

    def _head_overdue(self) -> None:
        """Close the connection. Without the complete head the header compression state is lost for later requests."""
        refuse(self._context, 408, Origin(self._end.client_ip, self._end.scheme, self._end.port, b"2"))
        self._h2.close_connection(ErrorCodes.NO_ERROR)
        self._flush()
        self.transport.close()

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._request(event)
        elif isinstance(event, DataReceived):
            self._data(event)
        elif isinstance(event, StreamEnded | TrailersReceived):
            self._end_lingering(event.stream_id)
            stream = self._streams.get(event.stream_id)
            if stream and not stream.exchange.request_ended:
                trailers = list(event.headers) if isinstance(event, TrailersReceived) else []
                stream.exchange.client_end(trailers)
        elif isinstance(event, StreamReset):
            self._end_lingering(event.stream_id)
            gone = self._streams.pop(event.stream_id, None)
            if gone:
                gone.resume_body()
                gone.exchange.client_gone()
        elif isinstance(event, WindowUpdated | RemoteSettingsChanged):
            self._push_all()

    def _request(self, event: RequestReceived) -> None:
        stream_id = event.stream_id
        pseudo: dict[bytes, bytes] = {}
        headers: Headers = []
        cookies: list[bytes] = []
        for name, value in event.headers:
            if name.startswith(b":"):
                pseudo[name] = value
            elif name == b"cookie":
                cookies.append(value)
            else:
                headers.append((name, value))
        method, target = pseudo[b":method"], pseudo.get(b":path", b"")
        if b":authority" in pseudo:
            headers = [(b"host", pseudo[b":authority"]), *(pair for pair in headers if pair[0] != b"host")]
        if cookies:
            # HTTP/2 clients may send several cookie fields; HTTP/1.1 requires one (RFC 9113, section 8.2.3).
            headers.append((b"cookie", b"; ".join(cookies)))
        refusal = self._refusal(method, target, headers)
        origin = Origin(self._end.client_ip, self._end.scheme, self._end.port, b"2")
        if refusal:
            fields = [(b":status", b"%d" % refusal), *refuse(self._context, refusal, origin, method, target)]
            with self._guarded(stream_id):
                self._h2.send_headers(stream_id, fields, end_stream=True)
                if event.stream_ended is None:
                    self._linger(stream_id)
            return
        body = Body.NONE
        if event.stream_ended is None:
            body = Body.CHUNKED if value_of(headers, b"content-length") is None else Body.LENGTH
        stream = self._streams[stream_id] = Http2Stream(self, stream_id, method)
        stream.exchange = Exchange(self._context, stream, Request(method, target, headers, body, origin))
        if body is Body.NONE:
            stream.exchange.client_end([])
        stream.exchange.start()

    def _refusal(self, method: bytes, target: bytes, headers: Headers) -> int | None:
        settings = self._context.settings
        if len(target) > settings.url_limit:
            return 414
        if sum(len(name) + len(value) + 4 for name, value in headers) > settings.head_limit:
            return 431
        if method == b"CONNECT" or not (target.startswith(b"/") or target == b"*"):
            return 400
        return None

    def _data(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        size = event.flow_controlled_length
        if stream is None:
            with self._guarded(event.stream_id):
                self._h2.acknowledge_received_data(size, event.stream_id)
            return
        stream.exchange.client_body(event.data)
        if stream.held is not None:
            stream.held += size
        elif size:
            with self._guarded(stream.id):
                self._h2.acknowledge_received_data(size, event.stream_id)

    # writing

    @contextmanager
    def _guarded(self, stream_id: int) -> Iterator[None]:
        """For every call of h2 about a stream: an error ends this stream only.

        For instance, h2 raises when the client has reset the stream in the same packet.
        """
        try:
            yield
        except ProtocolError:
            stream = self._streams.pop(stream_id, None)
            if stream:
                stream.exchange.client_gone()

    def acknowledge(self, stream: Http2Stream, size: int) -> None:
        """Return ``size`` bytes to the client's window."""
        if not self.transport.is_closing():
            with self._guarded(stream.id):
                self._h2.acknowledge_received_data(size, stream.id)
            self._flush()

    def send_headers(self, stream: Http2Stream, status: int, headers: Headers, *, end: bool) -> None:
        if stream.id in self._streams:
            fields = [(b":status", b"%d" % status), *((name.lower(), value) for name, value in headers)]
            with self._guarded(stream.id):
                self._h2.send_headers(stream.id, fields, end_stream=end)

    def push(self, stream: Http2Stream) -> None:
        """Send buffered bytes of a stream, as far as the client's windows and the socket allow."""
        if stream.id in self._streams and self._writable:
            with self._guarded(stream.id):
                self._push(stream)
        stream.watermark()
        self._flush()

    def _push(self, stream: Http2Stream) -> None:
        h2, out = self._h2, stream.out
        position = 0
        while position < len(out):
            room = min(h2.local_flow_control_window(stream.id), h2.max_outbound_frame_size)
            if room <= 0:
                break
            piece = bytes(out[position : position + room])
            position += len(piece)
            last = stream.ended and position == len(out) and not stream.trailers
            h2.send_data(stream.id, piece, end_stream=last)
            if last:
                del out[:]
                self.forget(stream)
                return
        del out[:position]
        if stream.ended and not out:
            if stream.trailers:
                h2.send_headers(stream.id, [(name.lower(), value) for name, value in stream.trailers], end_stream=True)
            else:
                h2.send_data(stream.id, b"", end_stream=True)
            self.forget(stream)

    def _push_all(self) -> None:
        for stream in list(self._streams.values()):
            if stream.out:
                if self._writable:
                    with self._guarded(stream.id):
                        self._push(stream)
                stream.watermark()

    def forget(self, stream: Http2Stream) -> None:
        """Remove a stream whose response is complete. If its request is not, read on for a while."""
        if self._streams.pop(stream.id, None) and not stream.exchange.request_ended:
            self._linger(stream.id)

    def _linger(self, stream_id: int) -> None:
        loop = asyncio.get_running_loop()
        self._lingering[stream_id] = loop.call_later(LINGER_S, self._lingered, stream_id)

    def _lingered(self, stream_id: int) -> None:
        del self._lingering[stream_id]
        with self._guarded(stream_id):
            self._h2.reset_stream(stream_id, ErrorCodes.NO_ERROR)
        self._flush()

    def _end_lingering(self, stream_id: int) -> None:
        timer = self._lingering.pop(stream_id, None)
        if timer:
            timer.cancel()

    def reset(self, stream: Http2Stream, code: ErrorCodes) -> None:
        if self._streams.pop(stream.id, None):
            with self._guarded(stream.id):
                self._h2.reset_stream(stream.id, code)
            self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._push_all()
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - required by asyncio
        self._clock.end()
        for stream_id in list(self._lingering):
            self._end_lingering(stream_id)
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.exchange.client_gone()
