"""The addresses of a client connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientEnd:
    """The client's address and the port that it came to, as the app is told."""

    client_ip: bytes
    scheme: bytes
    port: int
