"""What a client asked for, as both protocols hand it to the exchange, and the client's side that answers it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from parity.fly.edge.headers import Headers, Origin


class Body(Enum):
    """How a message's body is delimited."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    EOF = "eof"


@dataclass(frozen=True, slots=True)
class Request:
    """One request head. ``target`` is in origin form; ``headers`` include ``host``."""

    method: bytes
    target: bytes
    headers: Headers
    body: Body
    origin: Origin
    websocket: bool = False


class Stream(Protocol):
    """The client's side of one exchange: an HTTP/1.1 connection's turn or an HTTP/2 stream."""

    def send_informational(self, status: int, headers: Headers) -> None:
        """A 1xx response other than 101."""

    def send_head(self, status: int, headers: Headers, *, body: bool) -> None:
        """The response's head; ``body`` tells whether ``send_body`` may follow."""

    def send_body(self, data: bytes) -> None:
        """A piece of the body."""

    def send_end(self, trailers: Headers) -> None:
        """The response is complete."""

    def abort(self) -> None:
        """Cut the response where it is, so that the client cannot take it for complete."""

    def open_tunnel(self, headers: Headers) -> None:
        """Answer 101 and pass bytes both ways from now on."""

    def send_raw(self, data: bytes) -> None:
        """Bytes of the tunnel."""

    def close_tunnel(self) -> None:
        """No more bytes for the client; closes when all are sent."""

    def pause_body(self) -> None:
        """Read no more of the request's body for now."""

    def resume_body(self) -> None:
        """Read on."""

    def flush(self) -> None:
        """Hand everything sent so far to the transport."""
