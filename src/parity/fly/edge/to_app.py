"""Writes a request in HTTP/1.1 for a Machine. Pure functions."""

from __future__ import annotations

from parity.fly.edge.headers import Headers, request_to_app
from parity.fly.edge.request import Body, Request


def headers_to_app(request: Request, request_id: bytes, region: str, received: float, routed: Headers) -> Headers:
    """The headers, with those that frame the body or ask for the upgrade. ``received`` is Unix seconds.

    ``routed`` says how the request came to this Machine.
    """
    headers = [*request_to_app(request.headers, request.origin, request_id, region, received), *routed]
    if request.websocket:
        headers += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    elif request.body is Body.CHUNKED:
        headers.append((b"transfer-encoding", b"chunked"))
    return headers


def head_to_app(request: Request, headers: Headers) -> bytes:
    """The request line and ``headers``."""
    lines = [request.method + b" " + request.target + b" HTTP/1.1\r\n"]
    lines += [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join(lines) + b"\r\n"


def body_to_app(request: Request, data: bytes) -> bytes:
    """A piece of the body, which must not be empty: an empty chunk would end a chunked one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if request.body is Body.CHUNKED else data


def end_to_app(request: Request, trailers: Headers) -> bytes:
    """What follows the body."""
    if request.body is not Body.CHUNKED:
        return b""
    return b"0\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in trailers) + b"\r\n"
