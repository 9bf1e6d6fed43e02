"""New lines of several files as they arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_POLL_S = 0.2


def follow_lines(
    files: Mapping[str, Path], begin: Mapping[str, int], pause: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """``name| line`` for whole lines from each file's offset in ``begin`` (bytes) on, without end.

    A file that got shorter was started anew and is read from its beginning.
    """
    offsets = dict(begin)
    rest = dict.fromkeys(files, b"")
    while True:
        for name, path in files.items():
            chunk, offsets[name] = _read(path, offsets[name])
            *lines, rest[name] = (rest[name] + chunk).split(b"\n")
            for line in lines:
                yield f"{name:<9}| {line.decode('utf-8', 'replace')}"
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
