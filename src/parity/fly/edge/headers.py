"""Headers that Fly Proxy adds and strips (superfly/docs and measured responses, August 2026). Pure functions."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

Header = tuple[bytes, bytes]
Headers = list[Header]

# Connection-level headers: never passed on, in either direction (RFC 9110, section 7.6.1).
HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"te", b"upgrade", b"http2-settings"}
)

# What the proxy sets itself on the way to the app: a client's own value never gets through.
SET_BY_EDGE = frozenset(
    {
        b"fly-client-ip",
        b"fly-forwarded-proto",
        b"fly-forwarded-port",
        b"fly-forwarded-ssl",
        b"fly-region",
        b"fly-request-id",
        b"fly-traceparent",
        b"fly-tracestate",
        b"fly-replay-src",
        b"fly-replay-failed",
        b"fly-replay-cache-status",
        b"fly-preferred-instance-unavailable",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-forwarded-ssl",
        b"x-request-start",
    }
)

# Instructions of the client to the proxy; read by the edge, not passed on.
ROUTING = frozenset(
    {
        b"fly-force-instance-id",
        b"fly-prefer-instance-id",
        b"fly-force-region",
        b"fly-prefer-region",
        b"fly-replay-cache-control",
    }
)

# Instructions of the app to the proxy; never shown to the client.
REPLAY = frozenset({b"fly-replay", b"fly-replay-cache", b"fly-replay-cache-ttl-secs", b"fly-replay-cache-allow-bypass"})

SERVER = b"Fly/parity (2026-08-13)"
# The app's anycast address: documentation range, so that nothing can be reached under it by mistake.
ANYCAST = b"203.0.113.10"

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Origin:
    """How a request reached the edge."""

    client_ip: bytes
    scheme: bytes
    port: int
    protocol: bytes  # "1.1" or "2", as `via` writes it


def new_request_id(region: str, now: float | None = None) -> bytes:
    """``<ULID>-<region>``."""
    value = int((time.time() if now is None else now) * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return ("".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5)) + "-" + region).encode()


def connection_options(headers: Iterable[Header]) -> frozenset[bytes]:
    """Names that the ``Connection`` header declares hop-by-hop, in lower case."""
    return frozenset(
        word.strip().lower() for name, value in headers if name.lower() == b"connection" for word in value.split(b",")
    )


def request_to_app(headers: Headers, origin: Origin, request_id: bytes, region: str, received: float) -> Headers:
    """The request's headers as the app gets them: order, case and duplicates kept, the proxy's own at the end.

    ``received`` is Unix seconds. ``X-Forwarded-For`` keeps the client's own value first.
    """
    drop = HOP_BY_HOP | SET_BY_EDGE | ROUTING | connection_options(headers)
    if value_of(headers, b"fly-force-instance-id") is not None:
        # Unlike on Fly: a check that means one Machine can say that the request was replayed to it already.
        drop -= {b"fly-replay-src"}
    forwarded: list[bytes] = []
    via: list[bytes] = []
    kept: Headers = []
    for name, value in headers:
        lower = name.lower()
        if lower == b"x-forwarded-for":
            forwarded.append(value)
        elif lower == b"via":
            via.append(value)
        elif lower not in drop:
            kept.append((name, value))
    ssl = b"on" if origin.scheme == b"https" else b"off"
    port = b"%d" % origin.port
    trace = os.urandom(16).hex().encode()
    kept += [
        (b"x-forwarded-for", b", ".join([*forwarded, origin.client_ip, ANYCAST])),
        (b"fly-client-ip", origin.client_ip),
        (b"x-forwarded-proto", origin.scheme),
        (b"fly-forwarded-proto", origin.scheme),
        (b"x-forwarded-port", port),
        (b"fly-forwarded-port", port),
        (b"x-forwarded-ssl", ssl),
        (b"fly-forwarded-ssl", ssl),
        (b"fly-region", region.encode()),
        (b"fly-request-id", request_id),
        (b"via", b", ".join([*via, origin.protocol + b" fly.io"])),
        (b"fly-traceparent", b"00-" + trace + b"-" + os.urandom(8).hex().encode() + b"-00"),
        (b"fly-tracestate", b""),
        (b"x-request-start", b"t=%d" % int(received * 1_000_000)),
    ]
    return kept


def response_to_client(
    headers: Headers, protocol: bytes, request_id: bytes, *, pristine: bool = False, extra: Iterable[Header] = ()
) -> Headers:
    """The response's headers as the client gets them: hop-by-hop and the app's ``server`` replaced by Fly's.

    ``pristine`` adds nothing (``http_options.response.pristine``); ``extra`` are ``http_options.response.headers``,
    an empty value removes.
    """
    extra = list(extra)
    drop = HOP_BY_HOP | REPLAY | connection_options(headers) | {name.lower() for name, _ in extra}
    if pristine:
        return [(name, value) for name, value in headers if name.lower() not in drop] + [h for h in extra if h[1]]
    kept = [(b"server", SERVER)]
    via: list[bytes] = []
    for name, value in headers:
        lower = name.lower()
        if lower == b"via":
            via.append(value)
        elif lower not in drop and lower not in (b"server", b"fly-request-id"):
            kept.append((name, value))
    kept += [header for header in extra if header[1]]
    kept += [(b"via", b", ".join([*via, protocol + b" fly.io"])), (b"fly-request-id", request_id)]
    return kept


def value_of(headers: Headers, name: bytes) -> bytes | None:
    """The first value under ``name`` (lower case), or None."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None
