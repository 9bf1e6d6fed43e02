"""The main process of the dev container: makes the stack reachable at ``localhost``, as on the host.

For each port that a container of this compose project publishes on the host, it listens on the same port of
127.0.0.1 in this container and forwards connections. So the addresses of the documentation, of `parity urls` and of
tests work here too, even https://r2.localhost:9000, which browsers and curl resolve to 127.0.0.1 without DNS. A port is
only open while the stack publishes it, so that a process stack can use it otherwise. It also watches the stack's CA.

Rejected: the host's network for this container (with Docker Desktop that is a virtual machine's), and addresses that
differ from the host's (each command would have to know where it runs, and presigned URLs cannot know).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

SOCKET = "/run/docker.sock"
STACK_CA = Path("/trust/ca.pem")
# The stack's CA when trust.py last ran.
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
    """For each port on the host: the address of its container in a network that it shares with ``service``.

    ``containers`` is the response of the engine's ``/containers/json``.
    """
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
    """The two requests to the Docker engine's API, over its socket."""

    def __init__(self, project: str, socket: str = SOCKET) -> None:
        self._socket = socket
        self._label = f"{_PROJECT}={project}"

    async def containers(self) -> list[dict[str, Any]]:
        """The running containers of the project."""
        async with self._asked("/containers/json", {"label": [self._label]}) as reader:
            return list(json.loads(await reader.read()))

    async def changes(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` once at the beginning, and whenever a container of the project starts or ends."""
        filters = {"label": [self._label], "type": ["container"], "event": ["start", "die", "destroy"]}
        async with self._asked("/events", filters) as reader:
            changed()
            while await reader.readline():
                changed()

    @asynccontextmanager
    async def _asked(self, path: str, filters: dict[str, list[str]]) -> AsyncIterator[asyncio.StreamReader]:
        """The body of the answer. The connection is closed however this ends, also while the head is waited for."""
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=1 << 24)
        try:
            # With HTTP/1.0 the body is not chunked and ends with the connection.
            writer.write(f"GET {path}?filters={quote(json.dumps(filters))} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if head.split(None, 2)[1] != b"200":
                raise ConnectionError(
                    f"GET {path}: expected 200 from the Docker engine, got {head.splitlines()[0].decode()!r}"
                )
            yield reader
        finally:
            writer.close()


class Ports:
    """The forwarded ports of this container."""

    def __init__(self) -> None:
        self.targets: dict[int, Address] = {}
        self._servers: dict[int, asyncio.Server] = {}

    async def follow(self, wanted: dict[int, Address]) -> None:
        """Open and close ports so that they match ``wanted``. A port that another program uses is skipped."""
        self.targets = wanted
        for port in set(self._servers) - set(wanted):
            self._servers.pop(port).close()
        for port in sorted(set(wanted) - set(self._servers)):
            try:
                self._servers[port] = await asyncio.start_server(self._accept(port), HERE, port)
            except OSError as error:
                log.warning("port %d is not forwarded: %s", port, error.strerror)

    def close(self) -> None:
        """Close every port. Open connections stay open."""
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
                await asyncio.gather(_forward(reader, onward), _forward(there, writer))
            finally:
                onward.close()
                writer.close()

        return accepted


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the sender ends, then end this direction only."""
    try:
        while data := await reader.read(_BUFFER):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()


async def keep_ports(engine: Engine, ports: Ports, retry_s: float = _RETRY_S) -> None:
    """Keep the forwarded ports up to date for ever. While the engine is unreachable, no port is forwarded."""
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
            log.warning("Docker engine at %s: %s; trying again in %g s", SOCKET, problem.exceptions[0], retry_s)
        finally:
            ports.close()
        await asyncio.sleep(retry_s)


def content(path: Path) -> bytes:
    """The bytes of a file; empty if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def keep_trust(
    ca: Path = STACK_CA, trusted: Path = TRUSTED, trust: Path = TRUST, look_s: float = _LOOK_S
) -> None:
    """Run ``trust`` whenever the stack's CA has changed. ``adopt-owner`` runs it the first time."""
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
