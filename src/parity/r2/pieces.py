"""The immutable pieces of which objects consist: small ones in memory up to a limit, others in files."""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

BLOCK = 256 << 10
# The limit, in bytes, for all small bodies in memory together.
MEMORY_LIMIT = 32 << 20


class Blob:
    """A file of the blob folder. The file is removed when the last reference to this object goes.

    ``sha256`` is set once the file has been synced to the disk, and empty before.
    """

    def __init__(self, path: Path, size: int, sha256: str = "") -> None:
        self.path, self.size, self.sha256 = path, size, sha256
        # Not at interpreter exit, because saved files must outlive the process.
        self._finalizer = weakref.finalize(self, _unlink, str(path))
        self._finalizer.atexit = False

    def in_file(self, _write: Write) -> Blob:
        return self

    def keep(self) -> None:
        """Do not remove the file with this object, because a snapshot refers to it."""
        self._finalizer.detach()

    def seal(self) -> None:
        """Sync the bytes to the disk and compute their digest. Blocking."""
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
    """Bytes in memory, in a file, or in both."""

    __slots__ = ("__weakref__", "_data", "_file", "size")

    def __init__(self, data: bytes) -> None:
        self._data: bytes | None = data
        self._file: Blob | None = None
        self.size = len(data)

    @property
    def in_memory(self) -> bool:
        return self._data is not None

    def in_file(self, write: Write) -> Blob:
        """The file with these bytes; ``write`` makes it where there is none yet."""
        # In this order, because another thread may read meanwhile: bytes leave the memory only after they are in a
        # file.
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
    """The bodies in memory. Above ``MEMORY_LIMIT`` bytes the oldest are moved to files. Thread-safe."""

    def __init__(self, write: Write) -> None:
        self._write, self._limit = write, MEMORY_LIMIT
        self._pieces: dict[int, tuple[weakref.ref[Inline], int]] = {}
        self._numbers = count()
        # Reentrant, because garbage collection may call `_forget` while this thread holds the lock.
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
