"""The interface and common parts of connections to a Machine, for HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from parity.fly.edge.headers import Headers
from parity.fly.edge.request import Body

if TYPE_CHECKING:
    from parity.fly.edge.upstream import Pool


class Client(Protocol):
    """The events that a connection reports to its exchange."""

    def app_informational(self, status: int, headers: Headers) -> None: ...
    def app_head(self, status: int, headers: Headers, body: Body) -> None: ...
    def app_data(self, data: bytes) -> None: ...
    def app_end(self, trailers: Headers) -> None: ...
    def app_tunnel(self, headers: Headers) -> None: ...
    def app_tunnel_data(self, data: bytes) -> None: ...
    def app_failed(self, reason: str, *, clean: bool) -> None: ...
    def app_flush(self) -> None: ...
    def app_write_paused(self) -> None: ...
    def app_write_resumed(self) -> None: ...


class AppConnection(asyncio.Protocol):
    """One TCP connection to a Machine, one exchange at a time."""

    transport: asyncio.Transport

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.closed = False
        self.idle_since = 0.0
        self._client: Client | None = None
        self._reading = True

    def abandon(self) -> None:
        """The exchange wants nothing more from this connection; the app sees a disconnect."""
        self._client = None
        self.transport.abort()

    def pause_reading(self) -> None:
        if self._reading and not self.closed:
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and not self.closed:
            self._reading = True
            self.transport.resume_reading()

    def _fail(self, reason: str, *, clean: bool) -> None:
        client, self._client = self._client, None
        if client:
            client.app_failed(reason, clean=clean)
            client.app_flush()
