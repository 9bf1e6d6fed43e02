"""Ports for servers that tests start: free now, and not among those that the system hands out by itself.

A port that ``bind(0)`` gave may be given to another program as soon as it is closed; tests run side by side, and so do
checkouts on one machine.
"""

from __future__ import annotations

import random
import socket

# Linux hands out 32768 and more. Stacks of tests/backends have theirs below, moved from the defaults below 10000.
_LOWEST, _HIGHEST = 26000, 32000
_random = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """``count`` neighbouring ports on which nothing listens."""
    for _ in range(1000):
        first = _random.randrange(_LOWEST, _HIGHEST - count)
        ports = list(range(first, first + count))
        if all(_is_free(port) for port in ports):
            return ports
    raise RuntimeError(f"no {count} neighbouring free ports from {_LOWEST} to {_HIGHEST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True
