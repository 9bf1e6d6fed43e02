"""A proxy between the edge and each Machine that imitates the faults of a broken app.

Checks use it for their broken variants (``Proxy`` in parity.checks.variants). It works for an app in any language and
needs no deploy. The proxy is an ASGI application that forwards requests to the Machine; the wraps of ``parity.wraps``
surround it. Health checks and port probes bypass it, because they are about the Machine itself. A WebSocket bypasses
it too, unless one of the wraps handles WebSockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx

from parity.admin.app import serving
from parity.fly.edge.headers import HOP_BY_HOP
from parity.wraps import DOES, MEMORY, PROXIED, SOCKETS, App, Message, Receive, Send

Address = tuple[str, int]
# Seconds. Long, because the edge has its own idle timeout.
TIMEOUT_S = 300.0


class BadWrap(ValueError):
    """An unknown or malformed wrap. The message lists the known ones."""


@dataclass(frozen=True)
class WrapSpec:
    """One wrap by its name in ``parity.wraps``, with its settings. Its proxies of all Machines share ``memory``."""

    name: str
    settings: dict[str, Any]
    memory: dict[object, Any] = field(default_factory=dict, compare=False)


def parse_wraps(wanted: object) -> list[WrapSpec]:
    """The body's ``wraps``: a list of ``{"name": …, "settings": {…}}``, the outermost first. Raises ``BadWrap``."""
    if not isinstance(wanted, list):
        raise BadWrap("wraps: expected a list of {name, settings}")
    found = []
    for entry in wanted:
        if not isinstance(entry, dict) or not isinstance(entry.get("settings", {}), dict):
            raise BadWrap(f"wraps: {entry!r} is not {{name, settings}}")
        if entry.get("name") not in PROXIED:
            raise BadWrap(f"wraps: there is no {entry.get('name')!r}; known: {', '.join(sorted(PROXIED))}")
        found.append(WrapSpec(str(entry["name"]), dict(entry.get("settings", {}))))
    return found


class Interposer:
    """Does nothing until ``set``; then it runs one proxy server for each Machine that the edge connects to.

    ``local`` is the address that it connects from. It is the edge's address and not 127.0.0.1, because an app may
    trust the forwarding headers of 127.0.0.1, and on Fly no proxy connects from there.
    """

    def __init__(self, local: Address | None = None) -> None:
        self._local = local[0] if local else None
        self._wraps: list[WrapSpec] = []
        self._servers = AsyncExitStack()
        self._clients: dict[Address, httpx.AsyncClient] = {}
        self._ports: dict[Address, asyncio.Task[int]] = {}

    @property
    def wraps(self) -> list[WrapSpec]:
        return self._wraps

    async def set(self, wraps: Sequence[WrapSpec]) -> None:
        """Use these wraps from the next connection on, and end the servers of the previous wraps."""
        self._wraps = list(wraps)
        servers, self._servers = self._servers, AsyncExitStack()
        clients, self._clients, self._ports = self._clients, {}, {}
        for client in clients.values():
            await client.aclose()
        await servers.aclose()

    async def close(self) -> None:
        await self.set([])

    async def address(self, machine: Address, *, websocket: bool) -> Address:
        """The address that the edge must connect to: the proxy's, or the Machine's own where no wrap applies."""
        concerned = [wrap for wrap in self._wraps if not websocket or wrap.name in SOCKETS]
        if not concerned:
            return machine
        if machine not in self._ports:
            self._ports[machine] = asyncio.create_task(self._serve(machine))
        return "127.0.0.1", await asyncio.shield(self._ports[machine])

    async def _serve(self, machine: Address) -> int:
        host = f"[{machine[0]}]" if ":" in machine[0] else machine[0]
        client = self._clients[machine] = httpx.AsyncClient(
            base_url=f"http://{host}:{machine[1]}",
            timeout=TIMEOUT_S,
            transport=httpx.AsyncHTTPTransport(limits=httpx.Limits(), local_address=self._local),
        )
        app: App = forwarding(client)
        for wrap in reversed(self._wraps):
            app = PROXIED[wrap.name](app, {**wrap.settings, MEMORY: wrap.memory})
        options = {"proxy_headers": False, "server_header": False, "date_header": False}
        return await self._servers.enter_async_context(serving(app, "127.0.0.1", 0, **options))


def forwarding(client: httpx.AsyncClient) -> App:
    """An ASGI application that forwards each request and streams the answer. It answers 502 if the Machine fails."""

    async def forward(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        query = scope.get("query_string", b"")
        target = scope["raw_path"] + (b"?" + query if query else b"")
        headers = [pair for pair in scope["headers"] if pair[0].lower() not in (*HOP_BY_HOP, DOES)]
        length = next((value for name, value in headers if name.lower() == b"content-length"), None)
        chunked = any(name.lower() == b"transfer-encoding" for name, _ in scope["headers"])
        content = _body(receive) if chunked or length not in (None, b"0") else None
        url = client.base_url.copy_with(raw_path=target)
        request = httpx.Request(scope["method"], url, headers=headers, content=content)
        try:
            answer = await client.send(request, stream=True)
        except httpx.HTTPError:
            await send({"type": "http.response.start", "status": 502, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            kept = [(name, value) for name, value in answer.headers.raw if name.lower() not in HOP_BY_HOP]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await answer.aclose()

    return forward


async def _body(receive: Receive) -> Any:
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
