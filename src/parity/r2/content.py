"""The bytes of an object: immutable pieces in memory or in files, shared by objects, uploads, readers and saves.

A multipart object is the list of its parts' pieces: joining a gigabyte moves no byte, and a range reads only what it
covers. A file lives as long as something refers to it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from parity.r2.pieces import Blob, Inline, Piece, Resident

# Small bodies are handled in the event loop and kept in memory, larger ones go to files and threads.
INLINE_LIMIT = 1 << 20
# How many chunks one system call writes: Linux takes no more.
_VECTORS = 1024


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Content:
    """Immutable bytes of ``size``."""

    pieces: tuple[Piece, ...]
    size: int

    @classmethod
    def of(cls, data: bytes) -> Content:
        return cls((Inline(data),), len(data))

    @classmethod
    def join(cls, contents: Iterable[Content]) -> Content:
        pieces = tuple(piece for content in contents for piece in content.pieces if piece.size)
        return cls(pieces, sum(piece.size for piece in pieces))

    def blocks(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start``, in blocks of at most ``BLOCK``."""
        left = self.size - start if length is None else length
        for piece in self.pieces:
            if left <= 0:
                return
            if start >= piece.size:
                start -= piece.size
                continue
            take = min(piece.size - start, left)
            left -= take
            yield from piece.blocks(start, take)
            start = 0

    def read(self) -> bytes:
        return b"".join(self.blocks())

    @property
    def in_memory(self) -> bool:
        return all(isinstance(piece, Inline) and piece.in_memory for piece in self.pieces)

    async def stream(self, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Like ``blocks``. Files are read in the event loop: what was just written is in the page cache, where a block
        takes less time than handing it to a thread and back."""
        for block in self.blocks(start, length):
            yield block


class BlobFolder:
    """The folder of bodies. Each is written once, under a name that is never reused; ``resident`` holds those still in
    memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.resident = Resident(self.write)

    def new_path(self) -> Path:
        return self.path / uuid4().hex

    def write(self, data: bytes) -> Blob:
        path = self.new_path()
        try:
            path.write_bytes(data)
        except OSError:
            # On a full disk the partly written body is removed, so that it does not take up space.
            path.unlink(missing_ok=True)
            raise
        return Blob(path, len(data))

    def probe(self, size: int) -> None:
        """Raises ``OSError`` while a body of ``size`` bytes does not fit on the disk."""
        path = self.new_path()
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        finally:
            path.unlink(missing_ok=True)

    def sweep(self, keep: set[str]) -> None:
        """Remove files that a killed process left in the folder."""
        for file in self.path.iterdir():
            if file.name not in keep:
                file.unlink()


class ContentWriter:
    """Collects a body: in memory up to ``INLINE_LIMIT``, else in a file."""

    def __init__(self, folder: BlobFolder) -> None:
        self._folder = folder
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._size = 0
        self._path: Path | None = None
        self._descriptor = -1

    @property
    def size(self) -> int:
        return self._size

    def write(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        self._size += len(data)
        if self._buffered > INLINE_LIMIT:
            self._flush()

    def _flush(self) -> None:
        if self._path is None:
            self._path = self._folder.new_path()
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        for at in range(0, len(self._chunks), _VECTORS):
            _write_all(self._descriptor, self._chunks[at : at + _VECTORS])
        self._chunks.clear()
        self._buffered = 0

    def finish(self) -> Content:
        if self._path is None:
            piece = Inline(b"".join(self._chunks))
            self._folder.resident.add(piece)
            return Content((piece,), piece.size)
        self._flush()
        os.close(self._descriptor)
        content = Content((Blob(self._path, self._size),), self._size)
        self._path = None
        return content

    def abandon(self) -> None:
        """Drop what was written; harmless after ``finish``."""
        self._chunks.clear()
        if self._path is not None:
            os.close(self._descriptor)
            self._path.unlink(missing_ok=True)
            self._path = None


def _write_all(descriptor: int, chunks: Sequence[bytes]) -> None:
    """Write all chunks in order with vectored writes, without copying them into one buffer."""
    written = os.writev(descriptor, chunks)
    if written < sum(map(len, chunks)):
        view = memoryview(b"".join(chunks))[written:]
        while view:
            view = view[os.write(descriptor, view) :]
