"""A load generator: sends prepared requests over a fixed number of connections, as fast as answers arrive."""

from __future__ import annotations

import asyncio
import ssl
import statistics
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

_READ = 1 << 20


@dataclass(frozen=True)
class Target:
    """``ca`` is empty for plain HTTP."""

    url: str
    ca: str = ""


@dataclass(frozen=True)
class Load:
    """Requests per second, and the median time of a request in milliseconds."""

    per_second: float
    median_ms: float


class BadAnswer(Exception):
    """A response was not 2xx or was cut short, so the measurement is worthless."""


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
    """Send one request and read the response; returns whether the connection may be used again."""
    writer.write(request)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    status = head[9:12]
    if not status.startswith(b"2"):
        raise BadAnswer(head.decode("latin-1"))
    lines = head.lower().split(b"\r\n")
    left = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
    while left:
        data = await reader.read(min(left, _READ))
        if not data:
            raise BadAnswer("the connection ended within a body")
        left -= len(data)
    return b"connection: close" not in lines


async def _client(target: Target, requests: list[bytes], until: float, times: list[float]) -> None:
    parts = urlsplit(target.url)
    context = ssl.create_default_context(cafile=target.ca) if target.ca else None
    number, writer = 0, None
    try:
        while (began := time.perf_counter()) < until or not number:
            if writer is None:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context, limit=1 << 22)
            if not await _exchange(reader, writer, requests[number % len(requests)]):
                writer.transport.abort()
                writer = None
            times.append(time.perf_counter() - began)
            number += 1
    finally:
        if writer is not None:
            writer.transport.abort()


async def load(target: Target, requests: list[list[bytes]], seconds: float) -> Load:
    """Repeat each list of requests on a connection of its own for ``seconds``. Raises ``BadAnswer``.

    Each connection sends at least one request, even where a busy computer opens it only after ``seconds``.
    """
    times: list[float] = []
    began = time.perf_counter()
    await asyncio.gather(*(_client(target, found, began + seconds, times) for found in requests))
    return Load(len(times) / (time.perf_counter() - began), statistics.median(times) * 1000)
