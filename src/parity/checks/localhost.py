"""Resolves names below ``localhost`` on machines whose resolver does not know them.

Presigned URLs of a compose stack name ``r2.localhost``. RFC 6761, 6.3, asks libraries to answer with the loopback
address, as browsers and curl do. glibc does so only with nss-myhostname.
"""

from __future__ import annotations

import socket
from typing import Any

_SUFFIX = ".localhost"


def resolve_localhost(patch: Any) -> None:
    """Make ``socket.getaddrinfo``, which Python's HTTP clients use, resolve these names until ``patch`` is undone.

    ``patch`` is a ``pytest.MonkeyPatch``. What the system resolves stays as it is: inside a compose network
    ``r2.localhost`` is another container.
    """
    system = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        try:
            return system(host, *rest, **options)
        except socket.gaierror:
            name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
            if not name.rstrip(".").endswith(_SUFFIX):
                raise
            return system("127.0.0.1", *rest, **options)

    patch.setattr(socket, "getaddrinfo", getaddrinfo)
