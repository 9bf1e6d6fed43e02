"""A connection from the edge to a Machine: plain HTTP/1.1, one exchange at a time, kept alive in a pool.

``upstream_h2`` does the same with HTTP/2.
"""

from __future__ import annotations

import asyncio
import os
from typing import cast

import httptools

from parity.fly.edge.connection import AppConnection, Client
from parity.fly.edge.headers import Headers, value_of
from parity.fly.edge.request import Body, Request
from parity.fly.edge.to_app import body_to_app, end_to_app, head_to_app
from parity.fly.edge.upstream_h2 import H2Upstream

# Bytes queued towards a Machine before reading from the client stops.
WRITE_HIGH_WATER = 128 * 1024


class Upstream(AppConnection):
    """One TCP connection. After ``begin`` it drives a ``Client`` until ``app_end`` or ``app_failed``."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._request: Request
        self._tunnel = False
        self._reset()

    def _reset(self) -> None:
        self._head_request = False
        self._headers: Headers = []
        self._status: int | None = None
        self._body = Body.NONE
        self._keep_alive = False
        self._request_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)

    def begin(self, client: Client, request: Request, headers: Headers) -> None:
        """Send a request's head and serve ``client`` from now on."""
        self._reset()
        self._client, self._request = client, request
        self._head_request = request.method == b"HEAD"
        self._parser = httptools.HttpResponseParser(self)
        self.transport.write(head_to_app(request, headers))

    def send_body(self, data: bytes) -> None:
        """A piece of the request's body, which must not be empty."""
        self.transport.write(body_to_app(self._request, data))

    def send_end(self, trailers: Headers) -> None:
        """The request is complete: the connection may be used again after the response."""
        self.transport.write(end_to_app(self._request, trailers))
        self._request_ended = True

    def write(self, data: bytes) -> None:
        """Bytes of a tunnel."""
        self.transport.write(data)

    def close_tunnel(self) -> None:
        """No more bytes for the app; closes when all are sent."""
        self._client = None
        self.transport.close()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        client = self._client
        if client is None:
            self.transport.abort()
            return
        if self._tunnel:
            client.app_tunnel_data(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._tunnel = True
            client.app_tunnel(self._headers)
            rest = data[upgrade.args[0] :]
            if rest:
                client.app_tunnel_data(rest)
        except httptools.HttpParserError as error:
            self._fail(f"the Machine's response is not HTTP: {error}", clean=False)
            self.transport.abort()
        client.app_flush()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._pool.forget(self)
        if error is not None and not self._tunnel:
            self._read_rest()
        if self._client is None:
            return
        if self._status is not None and self._body is Body.EOF and error is None and not self._tunnel:
            self._finish([], reusable=False)
            return
        self._fail("the Machine closed the connection" if error is None else str(error), clean=error is None)

    def _read_rest(self) -> None:
        """Read a response that the Machine sent before it reset the connection, such as an early refusal of a body."""
        socket = self.transport.get_extra_info("socket")
        try:
            while socket and self._client and (data := os.read(socket.fileno(), 65536)):
                self.data_received(data)
        except OSError:
            return  # there are no more bytes

    def pause_writing(self) -> None:
        if self._client:
            self._client.app_write_paused()

    def resume_writing(self) -> None:
        if self._client:
            self._client.app_write_resumed()

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        client, status = self._client, self._parser.get_status_code()
        headers, self._headers = self._headers, []
        if client is None:
            return
        if status == 101:
            self._headers = headers
            return
        if status < 200:
            client.app_informational(status, headers)
            return
        self._status = status
        self._keep_alive = self._parser.should_keep_alive()
        self._body = response_body(self._head_request, status, headers)
        client.app_head(status, headers, self._body)
        if self._head_request and self._client is client:
            # The parser does not know that the request was HEAD, and would wait for a body.
            self._finish([], reusable=False)

    def on_body(self, data: bytes) -> None:
        if self._client:
            self._client.app_data(data)

    def on_message_complete(self) -> None:
        if self._client and self._status is not None and not self._tunnel:
            self._finish(self._headers, reusable=self._keep_alive and self._request_ended)

    def _finish(self, trailers: Headers, *, reusable: bool) -> None:
        client, self._client = self._client, None
        assert client is not None
        if reusable and not self.closed:
            self.resume_reading()
            self._pool.put(self)
        else:
            self.transport.close()
        client.app_end(trailers)
        client.app_flush()


def response_body(head_request: bool, status: int, headers: Headers) -> Body:
    """How a response's body is delimited (RFC 9112, section 6.3)."""
    if head_request or status < 200 or status in (204, 304):
        return Body.NONE
    coding = value_of(headers, b"transfer-encoding")
    if coding is not None:
        return Body.CHUNKED if coding.lower().split(b",")[-1].strip() == b"chunked" else Body.EOF
    return Body.LENGTH if value_of(headers, b"content-length") is not None else Body.EOF


AnyUpstream = Upstream | H2Upstream


class Pool:
    """Idle connections to each Machine, by its id.

    An app whose keep-alive timeout is shorter than ``reuse_s`` (uvicorn: 5 s) closes them. A request that is sent at
    that moment gets 502, because the edge does not send it again.
    """

    def __init__(
        self, local_address: tuple[str, int] | None = None, reuse_s: float = 60.0, *, http2: bool = False
    ) -> None:
        """``http2``: use HTTP/2 to Machines, except for WebSockets."""
        self._idle: dict[str, list[AnyUpstream]] = {}
        self._owner: dict[AnyUpstream, str] = {}
        self._local, self._reuse_s, self._http2 = local_address, reuse_s, http2

    def take(self, machine: str) -> AnyUpstream | None:
        """A connection that can be used at once, or None."""
        idle = self._idle.get(machine, [])
        now = asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.closed or connection.transport.is_closing():
                continue
            if now - connection.idle_since > self._reuse_s:
                connection.transport.close()
                continue
            return connection
        return None

    async def connect(self, machine: str, address: tuple[str, int], *, websocket: bool = False) -> AnyUpstream:
        """A new connection. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        kind = H2Upstream if self._http2 and not websocket else Upstream
        _, connection = await loop.create_connection(lambda: kind(self), *address, local_addr=self._local)
        self._owner[connection] = machine
        return connection

    def put(self, connection: AnyUpstream) -> None:
        """Return a connection to the pool after its exchange."""
        if self._http2 and isinstance(connection, Upstream):
            connection.transport.close()  # it was opened for a WebSocket, but the app sent another response
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.setdefault(self._owner[connection], []).append(connection)

    def forget(self, connection: AnyUpstream) -> None:
        """The connection is closed."""
        idle = self._idle.get(self._owner.pop(connection, ""), [])
        if connection in idle:
            idle.remove(connection)

    def close(self, machine: str | None = None) -> None:
        """Close every connection, or those to one Machine that nothing uses."""
        chosen = list(self._owner) if machine is None else list(self._idle.get(machine, []))
        for connection in chosen:
            connection.transport.abort() if machine is None else connection.transport.close()
