"""Follows the logs of several files and commands as one stream of lines."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
) -> Iterator[Line]:
    """Yield name and text of each log line of the parts and the Machines, forever.

    ``parts`` is the command that follows the parts; it prints ``NAME-1 | line``. A Machine gets a new container at each
    start, and Compose does not follow the new one. So ``machine(id, since)`` returns the command that follows the
    Machine's current container; it is run again when that container has ended. ``machines`` returns the ids of the
    running Machines.
    """
    lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
    _thread(_follow_parts, parts, lines)
    _thread(_follow_machines, machine, machines, lines)
    while True:
        yield lines.get()


def _thread(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


def _follow_parts(command: Sequence[str], lines: queue.SimpleQueue[Line]) -> None:
    for line in _printed(command):
        name, found, text = line.partition("|")
        lines.put((name.strip().removesuffix("-1"), text[1:]) if found else ("", line))


def _follow_machines(
    command: Callable[[str, str], Sequence[str]], ids: Callable[[], Sequence[str]], lines: queue.SimpleQueue[Line]
) -> None:
    since: dict[str, str] = {}  # Machine → the time up to which its lines were shown
    followed: set[str] = set()
    began = _now()

    def follow(machine: str) -> None:
        for line in _printed(command(machine, since.get(machine, began))):
            if not line.startswith(_NO_CONTAINER):
                lines.put((machine, line))
        since[machine] = _now()
        followed.discard(machine)

    while True:
        for machine in set(ids()) - followed:
            followed.add(machine)
            _thread(follow, machine)
        time.sleep(_LOOK_S)


def _now() -> str:
    return f"{time.time():.3f}"


def _printed(command: Sequence[str]) -> Iterator[str]:
    """Yield each line that the command prints, until it ends."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield line.rstrip("\n")
