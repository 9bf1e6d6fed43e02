"""``force_https``: the plain port answers every request with 301 (a POST turns into a GET in many clients)."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

from parity.fly.edge.context import EdgeContext
from parity.fly.edge.head_clock import HeadClock
from parity.fly.edge.headers import Header, Origin, new_request_id, response_to_client, value_of
from parity.fly.edge.http1 import head_bytes, origin_form
from parity.fly.edge.refusal import refuse

HTTP_PORT = 80


def location(host: bytes, target: bytes, port: int) -> bytes:
    """Where a request to the plain port belongs. A host with a port was reached by a published one, so ``port``, the
    TLS port as published, takes its place."""
    name, separator, number = host.rpartition(b":")
    if separator and number.isdigit():
        host = name if port == 443 else b"%b:%d" % (name, port)
    return b"https://" + host + target


class RedirectConnection(asyncio.Protocol):
    """One client connection to the plain port."""

    def __init__(self, context: EdgeContext, port: int) -> None:
        self._context, self._port = context, port
        self.transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._size = 0
        self._clock = HeadClock(context, self._head_overdue)
        self._headers: list[Header] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.transport.close()
        except httptools.HttpParserError:
            self._refuse(400)
        if self._size > self._context.settings.head_limit + self._context.settings.url_limit:
            self.transport.close()

    def on_message_begin(self) -> None:
        self._url, self._headers = b"", []
        self._clock.begin()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_message_complete(self) -> None:
        self._size = 0
        self._clock.end()
        target, absolute = origin_form(self._url)
        host = absolute or value_of(self._headers, b"host")
        if not host or not target:
            self._refuse(400)
            return
        self._answer(301, [(b"location", location(host, target, self._port))])
        if not self._parser.should_keep_alive():
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._clock.end()

    def _head_overdue(self) -> None:
        self._refuse(408)

    def _refuse(self, status: int) -> None:
        origin = Origin(str(self.transport.get_extra_info("peername")[0]).encode(), b"http", HTTP_PORT, b"1.1")
        headers = refuse(self._context, status, origin, target=self._url)
        if not self.transport.is_closing():
            self.transport.write(head_bytes(status, [*headers, (b"connection", b"close")]))
        self.transport.close()

    def _answer(self, status: int, headers: list[Header]) -> None:
        request_id = new_request_id(self._context.region)
        sent = response_to_client([*headers, (b"content-length", b"0")], b"1.1", request_id)
        if not self.transport.is_closing():
            self.transport.write(head_bytes(status, sent))
