"""``python -m parity.debug PORT HOST:PORT …``: passes each port on. The container that publishes the ports of debuggers
runs it, because Machines are on a network without a way in."""

from __future__ import annotations

import asyncio
import signal
import sys

from parity.debug.relay import Relay


async def forward(words: list[str]) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    relays = []
    for port, target in zip(words[::2], words[1::2], strict=True):
        host, _, other = target.rpartition(":")
        # The same address again and again: several debuggers may be connected at once.
        relays.append(relay := Relay(lambda address=(host, int(other)): [address], shared=True))  # type: ignore[misc]
        await relay.open("0.0.0.0", int(port))
    await stop.wait()
    for relay in relays:
        await relay.close()


if __name__ == "__main__":
    asyncio.run(forward(sys.argv[1:]))
