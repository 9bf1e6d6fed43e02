"""The client's side of HTTP/1.1 (and 1.0): parsing, pipelining, answering, tunnels."""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import cast

import httptools

from parity.fly.edge.context import EdgeContext
from parity.fly.edge.exchange import Exchange
from parity.fly.edge.head_clock import HeadClock
from parity.fly.edge.headers import Header, Headers, Origin, connection_options, value_of
from parity.fly.edge.listening import ClientEnd
from parity.fly.edge.refusal import refuse
from parity.fly.edge.request import Body, Request

# Bytes queued towards a client before reading from the Machine stops.
WRITE_HIGH_WATER = 256 * 1024
# After an early response, how long the rest of the request is read and dropped, in seconds: a close with unread data
# would reset the connection and could take the response with it.
LINGER_S = 10.0

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


def status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b""))


def head_bytes(status: int, headers: Headers) -> bytes:
    return b"".join([status_line(status), *(b"%b: %b\r\n" % header for header in headers), b"\r\n"])


class Http1Stream:
    """One request and its response on a connection."""

    def __init__(self, connection: Http1Connection, method: bytes, *, version: str, keep_alive: bool) -> None:
        self._connection, self._method, self._version = connection, method, version
        self.keep_alive = keep_alive
        self.exchange: Exchange
        self.tunnel = False
        self._chunked = False

    def send_informational(self, status: int, headers: Headers) -> None:
        if self._version != "1.0":
            self._connection.out.append(head_bytes(status, headers))

    def send_head(self, status: int, headers: Headers, *, body: bool) -> None:
        headers = list(headers)
        if body and value_of(headers, b"content-length") is None:
            if self._version == "1.0":
                self.keep_alive = False
            else:
                self._chunked = True
                headers.append((b"transfer-encoding", b"chunked"))
        if not self.exchange.request_ended:
            self.keep_alive = False
        if not self.keep_alive:
            headers.append((b"connection", b"close"))
        elif self._version == "1.0":
            headers.append((b"connection", b"keep-alive"))
        self._connection.out.append(head_bytes(status, headers))

    def send_body(self, data: bytes) -> None:
        if data and self._method != b"HEAD":
            self._connection.out.append(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def send_end(self, trailers: Headers) -> None:
        if self._chunked:
            self._connection.out.append(b"".join([b"0\r\n", *(b"%b: %b\r\n" % pair for pair in trailers), b"\r\n"]))
        self._connection.stream_done(self)

    def abort(self) -> None:
        self._connection.flush()
        self._connection.transport.abort()

    def open_tunnel(self, headers: Headers) -> None:
        self.tunnel = True
        self._connection.out.append(head_bytes(101, headers))

    def send_raw(self, data: bytes) -> None:
        self._connection.out.append(data)
        self._connection.flush()

    def close_tunnel(self) -> None:
        self._connection.flush()
        self._connection.transport.close()

    def pause_body(self) -> None:
        self._connection.pause_reading()

    def resume_body(self) -> None:
        self._connection.resume_reading()

    def flush(self) -> None:
        self._connection.flush()


class Http1Connection(asyncio.Protocol):
    """One client connection: streams are answered in the order in which they came."""

    def __init__(self, context: EdgeContext, end: ClientEnd) -> None:
        self._context, self._end = context, end
        self.transport: asyncio.Transport
        self.out: list[bytes] = []
        self._parser = httptools.HttpRequestParser(self)
        self._turns: deque[Http1Stream] = deque()
        self._parsing: Http1Stream | None = None
        self._upgraded: Http1Stream | None = None
        self._refusal: int | None = None
        self._clock = HeadClock(context, self._head_overdue)
        self._reading = True
        self._in_head = False
        self._head_size = 0
        self._closing = False
        self._url = b""
        self._headers: list[Header] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)

    # reading

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._upgraded:
            self._upgraded.exchange.client_raw(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self._upgraded:
                if rest:
                    self._upgraded.exchange.client_raw(rest)
            else:
                # An upgrade to something else is not taken up: what follows is HTTP/1.1 still.
                self._parser = httptools.HttpRequestParser(self)
                if rest:
                    self.data_received(rest)
                    return
        except httptools.HttpParserError:
            self._refusal = self._refusal or 400
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > self._context.settings.head_limit + WRITE_HIGH_WATER:
                self._refusal = self._refusal or 431
        if self._refusal:
            self._refuse()
        elif len(self._turns) > 1:
            self.pause_reading()
        self.flush()

    def on_message_begin(self) -> None:
        self._url, self._headers, self._in_head, self._head_size = b"", [], True, 0
        self._clock.begin()

    def on_url(self, url: bytes) -> None:
        if self._refusal:
            return
        self._url += url
        if len(self._url) > self._context.settings.url_limit:
            self._refusal = self._refusal or 414

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._clock.end()
        headers, self._headers = self._headers, []
        if self._refusal:
            return
        if sum(len(name) + len(value) + 4 for name, value in headers) > self._context.settings.head_limit:
            self._refusal = 431
            return
        parser = self._parser
        method, version = parser.get_method(), parser.get_http_version()
        target, host = origin_form(self._url)
        if host is not None:
            headers = [(b"host", host), *(pair for pair in headers if pair[0].lower() != b"host")]
        hosts = sum(name.lower() == b"host" for name, _ in headers)
        if method == b"CONNECT" or not target or hosts > 1 or (hosts == 0 and version != "1.0"):
            self._refusal = 400
            return
        websocket = parser.should_upgrade() and is_websocket(method, headers)
        stream = Http1Stream(self, method, version=version, keep_alive=parser.should_keep_alive() and not websocket)
        origin = Origin(self._end.client_ip, self._end.scheme, self._end.port, b"1.1")
        request = Request(method, target, headers, request_body(headers), origin, websocket)
        stream.exchange = Exchange(self._context, stream, request)
        self._parsing = stream
        if websocket:
            self._upgraded = stream
        self._turns.append(stream)
        if len(self._turns) == 1:
            stream.exchange.start()

    def on_body(self, data: bytes) -> None:
        if self._parsing and not self._refusal:
            self._parsing.exchange.client_body(data)

    def on_message_complete(self) -> None:
        stream, self._parsing = self._parsing, None
        trailers, self._headers = self._headers, []
        if stream:
            stream.exchange.client_end(trailers)
            if stream not in self._turns:
                self._close()  # answered early, and now read to its end

    # writing

    def stream_done(self, stream: Http1Stream) -> None:
        """A stream's response is complete: close, linger, or take the next turn."""
        if self._turns and self._turns[0] is stream:
            self._turns.popleft()
        self.flush()
        if not stream.keep_alive:
            if stream.exchange.request_ended or stream is not self._parsing:
                self._close()
            else:
                asyncio.get_running_loop().call_later(LINGER_S, self.transport.close)
            return
        if self._turns:
            asyncio.get_running_loop().call_soon(self._next)
        elif self._refusal:
            self._refuse()
        else:
            self.resume_reading()

    def _next(self) -> None:
        if self._turns and not self.transport.is_closing():
            self._turns[0].exchange.start()
            if len(self._turns) == 1:
                self.resume_reading()

    def _refuse(self) -> None:
        """Answer what cannot be a request, once the turns before it are over."""
        if self._turns and self._parsing is not self._turns[0]:
            return
        if not self._closing and self._refusal:
            for turn in self._turns:
                turn.exchange.client_gone()
            self._turns.clear()
            origin = Origin(self._end.client_ip, self._end.scheme, self._end.port, b"1.1")
            headers = refuse(self._context, self._refusal, origin, self._method, self._url)
            self.out.append(head_bytes(self._refusal, [*headers, (b"connection", b"close")]))
            self.flush()
            self._close()

    @property
    def _method(self) -> bytes:
        try:
            return self._parser.get_method()
        except ValueError:
            return b""

    def _head_overdue(self) -> None:
        self._refusal = self._refusal or 408
        self._refuse()

    def _close(self) -> None:
        self._closing = True
        self.flush()
        self.transport.close()

    def flush(self) -> None:
        if self.out:
            data = b"".join(self.out)
            self.out.clear()
            if not self.transport.is_closing():
                self.transport.write(data)

    def pause_reading(self) -> None:
        if self._reading and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and not self.transport.is_closing():
            self._reading = True
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        if self._turns:
            self._turns[0].exchange.client_write_paused()

    def resume_writing(self) -> None:
        if self._turns:
            self._turns[0].exchange.client_write_resumed()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._closing = True
        self._clock.end()
        turns, self._turns = list(self._turns), deque()
        for stream in turns:
            stream.exchange.client_gone()


def origin_form(target: bytes) -> tuple[bytes, bytes | None]:
    """The target in origin form, and the host of an absolute one. Empty when it is neither."""
    if target.startswith(b"/") or target == b"*":
        return target.partition(b"#")[0], None
    scheme, separator, rest = target.partition(b"://")
    if separator and scheme.lower() in (b"http", b"https"):
        host, slash, path = rest.partition(b"/")
        return slash + path if slash else b"/", host
    return b"", None


def is_websocket(method: bytes, headers: Headers) -> bool:
    """Whether a request asks for a WebSocket (RFC 6455, section 4.2.1)."""
    upgrade = (value_of(headers, b"upgrade") or b"").lower()
    return method == b"GET" and upgrade == b"websocket" and b"upgrade" in connection_options(headers)


def request_body(headers: Headers) -> Body:
    """How a request's body is delimited (RFC 9112, section 6.3)."""
    if value_of(headers, b"transfer-encoding") is not None:
        return Body.CHUNKED
    return Body.NONE if value_of(headers, b"content-length") is None else Body.LENGTH
