"""Follows the logs of several files and commands as one stream of lines."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

_POLL_S = 0.2
# How often to look for new Machines, in seconds.
_LOOK_S = 0.3
# Messages of `docker logs` about a container that is being replaced.
_NO_CONTAINER = ("Error response from daemon", "Error: No such container", "can not get logs from container")

# The part or Machine, and one line of it.
Line = tuple[str, str]


def follow_lines(
    files: Mapping[str, Path],
    begin: Mapping[str, int],
    pause: Callable[[float], None] = time.sleep,
    later: Callable[[], Mapping[str, Path]] = dict,
) -> Iterator[Line]:
    """Yield name and text of each new complete line of the files, forever.

    ``begin`` has the offset in bytes at which each file starts. A file that became shorter was truncated, and is read
    from its beginning. ``later`` returns files that appeared since; they too are read from the beginning.
    """
    known, offsets = dict(files), dict(begin)
    rest = dict.fromkeys(files, b"")
    while True:
        known = {**later(), **known}
        for name, path in known.items():
            chunk, offsets[name] = _read(path, offsets.get(name, 0))
            *lines, rest[name] = (rest.get(name, b"") + chunk).split(b"\n")
            for line in lines:
                yield name, line.decode("utf-8", "replace")
        pause(_POLL_S)


def _read(path: Path, offset: int) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(offset if offset <= size else 0)
            data = file.read()
            return data, file.tell()
    except FileNotFoundError:
        return b"", 0


def follow_containers(
    parts: Sequence[str], machine: Callable[[str, str], Sequence[str]], machines: Callable[[], Sequence[str]]
) -> Generator[Line, None, None]:
    """Yield name and text of each log line of the parts and the Machines, forever.

    ``parts`` is the command that follows the parts; it prints ``NAME-1 | line``. A Machine gets a new container at each
    start, and Compose does not follow the new one. So ``machine(id, since)`` returns the command that follows the
    Machine's current container; it is run again when that container has ended. ``machines`` returns the ids of the
    running Machines. When the iterator is closed, the commands are ended and no further one is started.
    """
    commands = _Commands()
    threading.Thread(target=commands.follow_parts, args=(parts,), daemon=True).start()
    threading.Thread(target=commands.follow_machines, args=(machine, machines), daemon=True).start()
    try:
        while True:
            yield commands.lines.get()
    finally:
        commands.end()


class _Commands:
    """Runs the commands, each in a thread, and puts what they print into ``lines``."""

    def __init__(self) -> None:
        self.lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
        self._over = threading.Event()
        self._running: set[subprocess.Popen[str]] = set()

    def end(self) -> None:
        self._over.set()
        for process in tuple(self._running):
            process.terminate()

    def follow_parts(self, command: Sequence[str]) -> None:
        for line in self._printed(command):
            name, found, text = line.partition("|")
            self.lines.put((name.strip().removesuffix("-1"), text[1:]) if found else ("", line))

    def follow_machines(self, command: Callable[[str, str], Sequence[str]], ids: Callable[[], Sequence[str]]) -> None:
        since: dict[str, str] = {}  # Machine → the time up to which its lines were shown
        followed: set[str] = set()
        began = _now()

        def follow(machine: str) -> None:
            for line in self._printed(command(machine, since.get(machine, began))):
                if not line.startswith(_NO_CONTAINER):
                    self.lines.put((machine, line))
            since[machine] = _now()
            followed.discard(machine)

        while not self._over.is_set():
            for machine in set(ids()) - followed:
                followed.add(machine)
                threading.Thread(target=follow, args=(machine,), daemon=True).start()
            self._over.wait(_LOOK_S)

    def _printed(self, command: Sequence[str]) -> Iterator[str]:
        """Yield each line that the command prints, until it ends."""
        if self._over.is_set():
            return
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            self._running.add(process)
            if self._over.is_set():  # ``end`` may have missed it
                process.terminate()
            assert process.stdout is not None
            for line in process.stdout:
                yield line.rstrip("\n")
        self._running.discard(process)


def _now() -> str:
    return f"{time.time():.3f}"
