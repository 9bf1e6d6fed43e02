"""WebSockets of tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from websockets.asyncio.client import connect as open_connection
from websockets.typing import Subprotocol

OPEN_SECONDS = 60
"""The library's own limit for a handshake is 10 s, which a busy machine may exceed."""


def connect(url: str, subprotocols: Sequence[str] = (), **options: Any) -> open_connection:
    """Opens a WebSocket of this machine, without a proxy that the environment may name."""
    names = [Subprotocol(name) for name in subprotocols] or None
    return open_connection(url, subprotocols=names, open_timeout=OPEN_SECONDS, proxy=None, **options)
