"""The dev container's main process: ``localhost`` in there is like ``localhost`` on the host.

What the containers of this compose project publish on the host's 127.0.0.1 is accepted at the same port of this
container's 127.0.0.1 and passed on. So every address of the documentation, of `parity urls` and of a test holds in here
too, also https://r2.localhost:9000, which browsers and curl never ask a name server for. The ports are open while the
stack publishes them, and closed otherwise, so that a stack of processes may have them. It also watches the stack's CA.

Tried and rejected: the host's network for this container (Docker Desktop's host is a virtual machine), and other
addresses in here than on the host (each command then needs to know where it runs, and presigned URLs cannot).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

SOCKET = "/run/docker.sock"
STACK_CA = Path("/trust/ca.pem")
# The CA that trust.py saw last.
TRUSTED = Path("/run/trusted.pem")
TRUST = Path(__file__).with_name("trust.py")
HERE = "127.0.0.1"
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_BUFFER = 1 << 16
_RETRY_S = 2.0
_LOOK_S = 1.0

Address = tuple[str, int]
log = logging.getLogger("dev")


def published(containers: list[dict[str, Any]], service: str = "dev") -> dict[int, Address]:
    """Port on the host → address on a network that the container of ``service`` is on. ``containers`` as the engine
    lists them."""
    own = {
        name
        for container in containers
        if container["Labels"].get(_SERVICE) == service
        for name in container["NetworkSettings"]["Networks"]
    }
    found: dict[int, Address] = {}
    for container in containers:
        networks = container["NetworkSettings"]["Networks"]
        shared = [networks[name]["IPAddress"] for name in sorted(own & set(networks)) if networks[name]["IPAddress"]]
        for port in container["Ports"]:
            if shared and port.get("PublicPort") and port["Type"] == "tcp":
                found[port["PublicPort"]] = (shared[0], port["PrivatePort"])
    return found


class Engine:
    """The two questions to the engine's API, over its socket."""

    def __init__(self, project: str, socket: str = SOCKET) -> None:
        self._socket = socket
        self._label = f"{_PROJECT}={project}"

    async def containers(self) -> list[dict[str, Any]]:
        """The running containers of the project."""
        reader, writer = await self._ask("/containers/json", {"label": [self._label]})
        try:
            found = json.loads(await reader.read())
        finally:
            writer.close()
        return list(found)

    async def changes(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` at once and whenever a container of the project has started or ended."""
        filters = {"label": [self._label], "type": ["container"], "event": ["start", "die", "destroy"]}
        reader, writer = await self._ask("/events", filters)
        try:
            changed()
            while await reader.readline():
                changed()
        finally:
            writer.close()

    async def _ask(self, path: str, filters: dict[str, list[str]]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=1 << 24)
        # HTTP/1.0: the answer's body comes without chunks and ends with the connection.
        writer.write(f"GET {path}?filters={quote(json.dumps(filters))} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split(None, 2)[1] != b"200":
            writer.close()
            raise ConnectionError(f"the engine answered {head.splitlines()[0].decode()} to {path}")
        return reader, writer


class Ports:
    """The ports that are open in here."""

    def __init__(self) -> None:
        self.targets: dict[int, Address] = {}
        self._servers: dict[int, asyncio.Server] = {}

    async def follow(self, wanted: dict[int, Address]) -> None:
        """Open and close ports until they are those of ``wanted``; one that something else has is left to it."""
        self.targets = wanted
        for port in set(self._servers) - set(wanted):
            self._servers.pop(port).close()
        for port in sorted(set(wanted) - set(self._servers)):
            try:
                self._servers[port] = await asyncio.start_server(self._accept(port), HERE, port)
            except OSError as error:
                log.warning("port %d is not passed on: %s", port, error.strerror)

    def close(self) -> None:
        """Close every port; connections that were passed on go on."""
        while self._servers:
            self._servers.popitem()[1].close()

    def _accept(self, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there, onward = await asyncio.open_connection(*self.targets[port])
            except (OSError, KeyError):
                writer.transport.abort()
                return
            try:
                await asyncio.gather(_pass_on(reader, onward), _pass_on(there, writer))
            finally:
                onward.close()
                writer.close()

        return accepted


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the sender has ended, then end too: the other direction may go on."""
    try:
        while data := await reader.read(_BUFFER):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()


async def keep_ports(engine: Engine, ports: Ports, retry_s: float = _RETRY_S) -> None:
    """Follow the project's containers for ever. Without an engine there is nothing to pass on."""
    changed = asyncio.Event()

    async def refresh() -> None:
        while True:
            await changed.wait()
            changed.clear()
            await ports.follow(published(await engine.containers()))

    while True:
        try:
            async with asyncio.TaskGroup() as group:
                listing = group.create_task(refresh())
                await engine.changes(changed.set)
                listing.cancel()
        except* (OSError, EOFError, ValueError) as problem:
            log.warning("the engine's socket: %s", problem.exceptions[0])
        finally:
            ports.close()
        await asyncio.sleep(retry_s)


def content(path: Path) -> bytes:
    """What a file holds; nothing where there is none."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def keep_trust(
    ca: Path = STACK_CA, trusted: Path = TRUSTED, trust: Path = TRUST, look_s: float = _LOOK_S
) -> None:
    """Run ``trust`` whenever the stack's CA is not the one that it saw last. adopt-owner runs it for the first time."""
    while True:
        await asyncio.sleep(look_s)
        if trusted.exists() and content(ca) != content(trusted):
            await asyncio.to_thread(subprocess.run, [sys.executable, str(trust)], stdin=subprocess.DEVNULL, check=False)


async def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_ports(Engine(os.environ["COMPOSE_PROJECT_NAME"]), Ports()))
        group.create_task(keep_trust())


if __name__ == "__main__":
    asyncio.run(main())
