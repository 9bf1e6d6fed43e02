"""Finds out whether ports are free, and which process uses a taken one, as far as ``/proc`` shows it."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from parity.stack.errors import PortTaken

_LISTEN = "0A"


@dataclass(frozen=True)
class Clash:
    """A taken port. ``variable`` is the setting that chooses it; ``owner`` is empty if it cannot be found out."""

    variable: str
    port: int
    owner: str


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Raises ``OSError`` for other errors, such as an unknown address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Like the servers, use SO_REUSEADDR: a port in TIME_WAIT is free, a port with a listener is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def clashes(
    host: str, ports: Mapping[str, int], holder: Callable[[int], str], held: Container[int] = ()
) -> list[Clash]:
    """The ``ports`` (variable → port) that are not free or are in ``held``. ``holder`` describes a port's user."""
    return [Clash(name, port, holder(port)) for name, port in ports.items() if port in held or not is_free(host, port)]


def duplicates(ports: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """Each two variables that choose the same port, and that port."""
    seen: dict[int, str] = {}
    found = []
    for name, port in ports.items():
        if port in seen:
            found.append((seen[port], name, port))
        seen.setdefault(port, name)
    return found


def require_distinct(ports: Mapping[str, int]) -> None:
    """Raises ``PortTaken`` when two variables choose the same port."""
    for first, second, port in duplicates(ports):
        raise PortTaken(f"{first} and {second} both choose port {port}", f"set {second} to another port")


def require_free(
    host: str, ports: Mapping[str, int], holder: Callable[[int], str] | None = None, held: Container[int] = ()
) -> None:
    """Raises ``PortTaken`` with each taken port, its variable, and the process that uses it, if that is known.

    ``held`` are ports that are taken although a bind succeeds. In the dev container, the ports that the Docker engine
    publishes belong to another network namespace.
    """
    require_distinct(ports)
    taken = clashes(host, ports, holder or owner_of, held)
    if taken:
        lines = [f"port {c.port} ({c.variable}) is taken" + (f" by {c.owner}" if c.owner else "") for c in taken]
        names = ", ".join(clash.variable for clash in taken)
        raise PortTaken(
            "\n".join(lines), f"stop what uses it, move all ports with PARITY_PORT_OFFSET=100, or set {names}"
        )


def owner_of(port: int, proc: Path = Path("/proc")) -> str:
    """The process that listens on ``port``, as ``pid 12 (python -m x)``; empty if it cannot be found out."""
    inodes = set(_listening_inodes(port, proc))
    if not inodes:
        return ""
    for folder in _processes(proc):
        if inodes & set(_socket_inodes(folder)):
            return f"pid {folder.name} ({_command(folder)})"
    return ""


def _listening_inodes(port: int, proc: Path) -> Iterator[str]:
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (proc / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _processes(proc: Path) -> Iterable[Path]:
    return (folder for folder in proc.iterdir() if folder.name.isdigit())


def _socket_inodes(process: Path) -> Iterator[str]:
    try:
        for link in (process / "fd").iterdir():
            found = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
            if found:
                yield found[1]
    except OSError:  # the process has ended or belongs to another user
        return


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return "?"
    text = " ".join(word.decode("utf-8", "replace") for word in words)
    return text if len(text) <= 120 else text[:117] + "..."
