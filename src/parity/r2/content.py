"""The bytes of an object: immutable pieces in memory or in files, shared by objects, uploads, readers and saves.

A multipart object is the list of its parts' pieces: joining a gigabyte moves no byte, and a range reads only what it
covers. A file lives as long as something refers to it.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

# Small bodies stay in memory and are handled in the event loop; larger ones go to files and threads.
INLINE_LIMIT = 1 << 20
BLOCK = 256 << 10


class Blob:
    """A file of the blob folder; it is removed when nothing refers to this object any more."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        # Not at interpreter exit: what is saved must outlive the process.
        self._finalizer = weakref.finalize(self, _unlink, str(path))
        self._finalizer.atexit = False

    def keep(self) -> None:
        """The file stays when this object goes: it belongs to a snapshot."""
        self._finalizer.detach()


def _unlink(path: str) -> None:
    Path(path).unlink(missing_ok=True)


Piece = bytes | Blob


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.size


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Content:
    """Immutable bytes of ``size``."""

    pieces: tuple[Piece, ...]
    size: int

    @classmethod
    def of(cls, data: bytes) -> Content:
        return cls((data,), len(data))

    @classmethod
    def join(cls, contents: Iterable[Content]) -> Content:
        pieces = tuple(piece for content in contents for piece in content.pieces if _size(piece))
        return cls(pieces, sum(_size(piece) for piece in pieces))

    def blocks(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start``, in blocks of at most ``BLOCK``."""
        left = self.size - start if length is None else length
        for piece in self.pieces:
            if left <= 0:
                return
            size = _size(piece)
            if start >= size:
                start -= size
                continue
            take = min(size - start, left)
            left -= take
            yield from _blocks(piece, start, take)
            start = 0

    def read(self) -> bytes:
        return b"".join(self.blocks())

    @property
    def in_memory(self) -> bool:
        return all(isinstance(piece, bytes) for piece in self.pieces)

    async def stream(self, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Like ``blocks``. Files are read in the event loop: what was just written is in the page cache, where a block
        takes less time than handing it to a thread and back."""
        for block in self.blocks(start, length):
            yield block


def _blocks(piece: Piece, start: int, length: int) -> Iterator[bytes]:
    if isinstance(piece, bytes):
        if start == 0 and length == len(piece):
            yield piece
            return
        yield piece[start : start + length]
        return
    with piece.path.open("rb", buffering=0) as file:
        file.seek(start)
        while length:
            block = file.read(min(BLOCK, length))
            if not block:
                raise OSError(f"{piece.path} ends {length} bytes early")
            length -= len(block)
            yield block


class BlobFolder:
    """Where larger bodies are written, once, under names that never come again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def new_path(self) -> Path:
        return self.path / uuid4().hex

    def adopt(self, name: str, size: int) -> Blob:
        """A file that a save names. Raises ``ValueError`` for a name that is not of this folder."""
        if not name.isalnum():
            raise ValueError(f"{name!r} is not the name of a blob")
        return Blob(self.path / name, size)

    def sweep(self, keep: set[str]) -> None:
        """Remove what a killed process left behind."""
        for file in self.path.iterdir():
            if file.name not in keep:
                file.unlink()


class ContentWriter:
    """Collects a body: in memory up to ``INLINE_LIMIT``, then in a file."""

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
        view = memoryview(b"".join(self._chunks))
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._chunks.clear()
        self._buffered = 0

    def finish(self) -> Content:
        if self._path is None:
            return Content.of(b"".join(self._chunks))
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
