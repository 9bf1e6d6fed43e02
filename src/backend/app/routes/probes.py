"""Tests whether Modal's control plane accepts connections, without loading its SDK (0.4 s, 45 MiB)."""

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_SERVER = "https://api.modal.com"


@dataclass(frozen=True)
class Address:
    host: str
    port: int
    tls: bool


def modal_address(server_url: str) -> Address:
    """Where the SDK would connect to; an empty text means the real Modal."""
    parts = urlsplit(server_url or DEFAULT_SERVER)
    tls = parts.scheme == "https"
    return Address(parts.hostname or "", parts.port or (443 if tls else 80), tls)


async def probe_modal(address: Address) -> None:
    """Connects (with TLS if the address says https) and disconnects. Raises OSError.

    The token is not tested. The SDK sends it with each call, which fails if it is wrong.
    """
    context = ssl.create_default_context() if address.tls else None
    _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    writer.close()
