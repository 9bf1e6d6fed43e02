"""The immutable pieces that objects are made of: small ones in memory as long as there is room, others in files."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

BLOCK = 256 << 10
# Small bodies that are kept in memory, all together.
MEMORY_LIMIT = 32 << 20


class Blob:
    """A file of the blob folder; it is removed when nothing refers to this object any more.

    ``sha256`` is known of a file that is on the disk for sure, else it is empty.
    """

    def __init__(self, path: Path, size: int, sha256: str = "") -> None:
        self.path, self.size, self.sha256 = path, size, sha256
        # Not at interpreter exit: what is saved must outlive the process.
        self._finalizer = weakref.finalize(self, _unlink, str(path))
        self._finalizer.atexit = False

    def in_file(self, _write: Write) -> Blob:
        return self

    def keep(self) -> None:
        """The file stays when this object goes: it belongs to a snapshot."""
        self._finalizer.detach()

    def seal(self) -> None:
        """Bring the bytes to the disk and learn their digest. Blocking."""
        if not self.sha256:
            with self.path.open("rb", buffering=0) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            self.sha256 = digest

    def blocks(self, start: int, length: int) -> Iterator[bytes]:
        with self.path.open("rb", buffering=0) as file:
            file.seek(start)
            while length:
                block = file.read(min(BLOCK, length))
                if not block:
                    raise OSError(f"{self.path} ends {length} bytes early")
                length -= len(block)
                yield block


def _unlink(path: str) -> None:
    Path(path).unlink(missing_ok=True)


Write = Callable[[bytes], Blob]


class Inline:
    """Bytes in memory, in a file too, or in a file alone."""

    __slots__ = ("__weakref__", "_data", "_file", "size")

    def __init__(self, data: bytes) -> None:
        self._data: bytes | None = data
        self._file: Blob | None = None
        self.size = len(data)

    @property
    def in_memory(self) -> bool:
        return self._data is not None

    def in_file(self, write: Write) -> Blob:
        """The file with these bytes, of ``write`` where there is none yet."""
        # In this order, as another thread may call the next method: bytes that are not in memory are in a file.
        data = self._data
        if self._file is None:
            self._file = write(data or b"")
        return self._file

    def leave_memory(self, write: Write) -> None:
        self.in_file(write)
        self._data = None

    def blocks(self, start: int, length: int) -> Iterator[bytes]:
        data, file = self._data, self._file
        if data is not None:
            yield data if length == len(data) else data[start : start + length]
        elif file is not None:
            yield from file.blocks(start, length)


Piece = Inline | Blob


class Resident:
    """The bodies in memory: when they are more than ``MEMORY_LIMIT`` bytes, the oldest become files. Thread-safe."""

    def __init__(self, write: Write) -> None:
        self._write, self._limit = write, MEMORY_LIMIT
        self._pieces: dict[int, tuple[weakref.ref[Inline], int]] = {}
        self._numbers = count()
        # Reentrant: a body may go, and be told to `_forget`, in the middle of anything.
        self._lock = threading.RLock()
        self.size = 0

    def add(self, piece: Inline) -> None:
        number = next(self._numbers)
        with self._lock:
            self._pieces[number] = (weakref.ref(piece, lambda _: self._forget(number)), piece.size)
            self.size += piece.size
            while self.size > self._limit:
                oldest = next(iter(self._pieces))
                found = self._pieces[oldest][0]()
                if found is not None:
                    found.leave_memory(self._write)
                self._forget(oldest)

    def _forget(self, number: int) -> None:
        with self._lock:
            self.size -= self._pieces.pop(number, (None, 0))[1]
