"""Compression as Fly Proxy does it: zstd, br, gzip, deflate, unless the app set ``Content-Encoding``.

The compressors are flushed only at the end, so a streamed response arrives late. The real proxy does the same;
``Content-Encoding: none`` prevents it (superfly/docs, August 2026).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli  # type: ignore[import-untyped]
import zstandard

from parity.fly.edge.headers import Headers, value_of


class Compressor(Protocol):
    """Takes the body piece by piece; ``finish`` gives what is left."""

    def compress(self, data: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class _Zlib:
    def __init__(self, wbits: int) -> None:
        self._object = zlib.compressobj(wbits=wbits)

    def compress(self, data: bytes) -> bytes:
        return self._object.compress(data)

    def finish(self) -> bytes:
        return self._object.flush()


class _Brotli:
    def __init__(self) -> None:
        self._object = brotli.Compressor(quality=4)

    def compress(self, data: bytes) -> bytes:
        return bytes(self._object.process(data))

    def finish(self) -> bytes:
        return bytes(self._object.finish())


class _Zstandard:
    def __init__(self) -> None:
        self._object = zstandard.ZstdCompressor(level=3).compressobj()

    def compress(self, data: bytes) -> bytes:
        return self._object.compress(data)

    def finish(self) -> bytes:
        return self._object.flush()


# In the order of preference where the client weighs them alike.
COMPRESSORS: dict[bytes, Callable[[], Compressor]] = {
    b"zstd": _Zstandard,
    b"br": _Brotli,
    b"gzip": lambda: _Zlib(31),
    b"deflate": lambda: _Zlib(15),
}


def accepted(accept_encoding: bytes | None) -> bytes | None:
    """The coding to use for an ``Accept-Encoding`` value, None for identity."""
    if not accept_encoding:
        return None
    weights: dict[bytes, float] = {}
    for item in accept_encoding.lower().split(b","):
        name, _, parameters = item.partition(b";")
        weight = 1.0
        for parameter in parameters.split(b";"):
            key, _, value = parameter.strip().partition(b"=")
            if key == b"q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        weights[name.strip()] = weight
    best, found = 0.0, None
    for coding in COMPRESSORS:
        weight = weights.get(coding, weights.get(b"*", 0.0))
        if weight > best:
            best, found = weight, coding
    return found


def coding_for(
    method: bytes, accept_encoding: bytes | None, status: int, headers: Headers, skip: tuple[str, ...], minimum: int
) -> bytes | None:
    """The coding that this response gets, or None when it is passed on as it is."""
    if method == b"HEAD" or status < 200 or status in (204, 206, 304):
        return None
    if value_of(headers, b"content-encoding") is not None or value_of(headers, b"content-range") is not None:
        return None
    length = value_of(headers, b"content-length")
    if length is not None and length.isdigit() and int(length) < minimum:
        return None
    kind = (value_of(headers, b"content-type") or b"").lower().decode("latin-1")
    if kind.startswith(skip):
        return None
    return accepted(accept_encoding)


def compressed_headers(headers: Headers, coding: bytes) -> Headers:
    """The headers of a response whose body is being compressed."""
    kept = [(name, value) for name, value in headers if name.lower() not in (b"content-length", b"accept-ranges")]
    return [*kept, (b"content-encoding", coding), (b"vary", b"accept-encoding")]
