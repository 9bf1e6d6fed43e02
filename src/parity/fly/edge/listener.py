"""The edge's two ports: TLS with ALPN, and plain HTTP that redirects when ``force_https`` is set."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from parity.certs import Certificates
from parity.fly.binding import binding
from parity.fly.edge.context import EdgeContext
from parity.fly.edge.http1 import Http1Connection
from parity.fly.edge.http2 import Http2Connection
from parity.fly.edge.listening import ClientEnd
from parity.fly.edge.redirect import RedirectConnection

BACKLOG = 1024
# The ports that the app sees in headers. The real port numbers of the stand-in would differ from Fly's.
HTTPS_PORT, HTTP_PORT = 443, 80


class TlsFront(asyncio.Protocol):
    """Hands a connection to the protocol that TLS agreed on."""

    def __init__(self, context: EdgeContext) -> None:
        self._context = context

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        tls = transport.get_extra_info("ssl_object")
        end = ClientEnd(_peer(transport), b"https", HTTPS_PORT)
        chosen = Http2Connection if tls.selected_alpn_protocol() == "h2" else Http1Connection
        protocol = chosen(self._context, end)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class PlainFront(asyncio.Protocol):
    """Port 80: serves the app, or redirects to https."""

    def __init__(self, context: EdgeContext, redirect_port: int | None) -> None:
        self._context, self._redirect_port = context, redirect_port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        protocol: RedirectConnection | Http1Connection
        if self._redirect_port is not None:
            protocol = RedirectConnection(self._context, self._redirect_port)
        else:
            protocol = Http1Connection(self._context, ClientEnd(_peer(transport), b"http", HTTP_PORT))
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


@dataclass(frozen=True)
class Ports:
    """What was bound."""

    https: int
    http: int


@asynccontextmanager
async def listening(
    context: EdgeContext, certificates: Certificates, host: str, https_port: int, http_port: int
) -> AsyncIterator[Ports]:
    """Serve the edge on both ports (0: any). Raises ``ConfigError`` when one is taken, with neither left open."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.load_cert_chain(certificates.chain, certificates.key)
    tls.set_alpn_protocols(["h2", "http/1.1"])
    loop = asyncio.get_running_loop()
    with binding("PARITY_API_PORT", host, https_port):
        https = await loop.create_server(lambda: TlsFront(context), host, https_port, ssl=tls, backlog=BACKLOG)
    async with https:
        bound = int(https.sockets[0].getsockname()[1])
        redirect = (context.settings.public_port or bound) if context.config.service.force_https else None
        with binding("PARITY_API_HTTP_PORT", host, http_port):
            http = await loop.create_server(lambda: PlainFront(context, redirect), host, http_port, backlog=BACKLOG)
        async with http:
            sweeper = loop.create_task(_sweep(context))
            try:
                yield Ports(bound, int(http.sockets[0].getsockname()[1]))
            finally:
                sweeper.cancel()
                for server in (https, http):
                    server.close()
                for exchange in list(context.live):
                    exchange.expire()


async def _sweep(context: EdgeContext) -> None:
    """Cut exchanges that were silent for longer than the idle timeout, if there is one."""
    limit = context.settings.idle_timeout_s or context.config.service.http_options.idle_timeout or 0.0
    loop = asyncio.get_running_loop()
    while limit:
        await asyncio.sleep(limit / 10)
        paused = context.paused()
        for exchange in list(context.live):
            if paused:
                exchange.touched = loop.time()
            elif loop.time() - exchange.touched > limit:
                exchange.expire()


def _peer(transport: asyncio.Transport) -> bytes:
    return str(transport.get_extra_info("peername")[0]).encode()
