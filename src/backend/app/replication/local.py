"""One profile's local database: a disposable copy that knows which of its commits the replica does not hold yet.

Every method blocks for local work only. All take the same lock, so that no commit, capture, checkpoint or roll-back
runs between the steps of another one. Callers run them in a thread.
"""

import logging
import os
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

import apsw

from app.replication.errors import ForeignWriter
from app.replication.ltx import LtxFile, database_pages, newest_pages

logger = logging.getLogger(__name__)
T = TypeVar("T")

# A write is uploaded by whole pages, once for each level of the log: the app's rows are far smaller than a page, so
# that small pages more than halve the bytes of a write.
PAGE_SIZE = 1024
# A checkpoint needs a moment in which everything is durable; below this many bytes of the log it is not worth one.
_CHECKPOINT_BYTES = 1 << 20
_NO_COMMIT = -1
_CROWDED_BYTES = 16 << 20
_WRITE_BUFFER = 128 << 10
# Bytes of the header of SQLite's log, where in it the salt lies, and bytes of a frame's header.
_WAL_HEADER, _SALT, _FRAME_HEADER = 32, 16, 24


@dataclass(frozen=True)
class _Commit:
    """A captured commit: its number, the pages that it wrote, and the size in pages and the frames of the log behind
    it."""

    seq: int
    pages: dict[int, bytes]
    size: int
    frames: int


@dataclass(frozen=True)
class Batch:
    """The newest image of each page that commits after ``durable`` and up to ``seq`` changed. ``txid`` is the one that
    the group must get: it was made on exactly the state of the TXID before."""

    txid: int
    pages: tuple[tuple[int, bytes], ...]
    commit: int
    seq: int
    life: int


@dataclass(frozen=True)
class Image:
    """Every page of a database but the lock page; ``commit`` is its size in pages, ``txid`` the newest durable one."""

    txid: int
    commit: int
    pages: tuple[tuple[int, bytes], ...]


class LocalDatabase:
    """The local copy. ``seq`` counts captured commits, ``durable`` how many of them the replica holds.

    ``txid`` is the newest one that the durable part of the copy holds; it changes only together with that part.
    ``page_size`` is the first file's: a replica that Litestream wrote may have another than this app's own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.page_size = PAGE_SIZE
        self.txid = 0
        self.seq = 0
        self.durable = 0
        self._lock = threading.RLock()
        self._wal = path.with_name(path.name + "-wal")
        self._shm = path.with_name(path.name + "-shm")
        self._pending = deque[_Commit]()
        self._file_bytes = 0
        self._connection: apsw.Connection | None = None
        self._noted = _NO_COMMIT
        self._captured = self._durable_frames = 0
        self._salt = b""
        self._life = 0
        self._removed = False

    @classmethod
    def build(cls, path: Path, files: Iterable[LtxFile], image: bytes | None = None) -> Self:
        """A copy at ``path`` as `replace` makes it."""
        database = cls(path)
        database.replace(files, image)
        return database

    def replace(self, files: Iterable[LtxFile], image: bytes | None = None) -> None:
        """Drop whatever lies there and build the database from a whole ``image`` or from ``files``.

        ``image`` has pages of ``PAGE_SIZE`` bytes. With neither it is a new, empty database. Raises ``ValueError`` for
        files that do not follow each other.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.remove()
        self._removed = False
        if image is not None:
            self.path.write_bytes(image)
        self._write_pages(files)
        self._measure()

    def read(self, query: Callable[[apsw.Connection], T]) -> tuple[T, int]:
        """``query``'s result and the count of commits it may have seen. It must not write (``ReadOnlyError``)."""
        with self._lock:
            connection = self._open()
            connection.pragma("query_only", 1)
            try:
                return query(connection), self.seq
            finally:
                connection.pragma("query_only", 0)

    def write(self, change: Callable[[apsw.Connection], T]) -> tuple[T, int]:
        """Run ``change`` as one transaction and capture it; its result and the count that must become durable."""
        with self._lock:
            connection = self._open()
            self._noted = _NO_COMMIT
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = change(connection)
                # Inside: a commit that is refused leaves its transaction open.
                connection.execute("COMMIT")
            except BaseException:
                # Some errors, a full disk among them, have rolled back already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._capture()
            return result, self.seq

    def image(self) -> Image:
        """The database as captured now; for a new replica's first file."""
        with self._lock:
            return self._image(self._captured)

    def durable_image(self) -> Image:
        """The database as the replica holds it, without commits that are still on their way; for a snapshot."""
        with self._lock:
            return self._image(self._durable_frames)

    @property
    def crowded(self) -> bool:
        """Whether the log has grown so long that a moment without commits on their way is needed to empty it."""
        return self._frame_offset(self._captured) >= _CROWDED_BYTES

    @property
    def disk_bytes(self) -> int:
        """Bytes of the local file and its log, without asking the disk: every request wants to know."""
        return self._file_bytes + (self._frame_offset(self._captured) if self._captured else 0)

    @property
    def commit(self) -> int:
        """Size in pages as captured now."""
        with self._lock:
            return int(self._open().pragma("page_count"))

    def take(self) -> Batch | None:
        """Everything captured and not yet durable, as one group; it stays pending until ``mark_durable``."""
        with self._lock:
            if not self._pending:
                return None
            pages: dict[int, bytes] = {}
            for commit in self._pending:
                pages |= commit.pages
            last = self._pending[-1]
            kept = sorted((number, page) for number, page in pages.items() if number <= last.size)
            return Batch(self.txid + 1, tuple(kept), last.size, last.seq, self._life)

    def mark_durable(self, txid: int, seq: int, life: int | None = None) -> None:
        """The replica holds every commit up to ``seq``, and ``txid`` is its newest file. ``life`` is the batch's: after
        a roll-back its numbers belong to other commits, so nothing is marked then."""
        with self._lock:
            if life is not None and life != self._life:
                return
            self.txid = txid
            self.durable = max(self.durable, seq)
            while self._pending and self._pending[0].seq <= seq:
                self._durable_frames = self._pending.popleft().frames
            if not self._pending and self._frame_offset(self._captured) >= _CHECKPOINT_BYTES:
                try:
                    self._checkpoint()
                except (apsw.Error, OSError) as error:
                    # The commits are durable all the same, and the next time may do; where the log was emptied half,
                    # the next capture finds out.
                    logger.warning("The log of %s stays as it is: %s", self.path, error)

    def roll_back(self) -> None:
        """Forget every commit that is not durable: the file is again what the replica holds."""
        with self._lock:
            self.close()
            if self._wal.exists():
                frames = self._durable_frames
                os.truncate(self._wal, self._frame_offset(frames) if frames else 0)
            self._pending.clear()
            self._life += 1
            self.seq = self.durable
            self._captured = self._durable_frames

    def apply(self, files: Iterable[LtxFile]) -> bool:
        """Bring the replica's newer files in; whether commits that were not durable had to be dropped for that. Raises
        ``ValueError`` for files that do not follow."""
        with self._lock:
            dropped = bool(self._pending)
            if dropped:
                self.roll_back()
            self._checkpoint()
            self.close()
            self._write_pages(files)
            self._measure()
            return dropped

    def close(self) -> None:
        """Close the connection and keep the file; the next use opens it again."""
        with self._lock:
            if self._connection:
                self._connection.close()
                self._connection = None
            self._shm.unlink(missing_ok=True)

    def remove(self) -> None:
        """Close, and drop the file. Later use of this object raises ``ForeignWriter``."""
        with self._lock:
            self.close()
            self._removed = True
            self._life += 1
            for path in (self.path, self._wal, self._shm):
                path.unlink(missing_ok=True)

    def _open(self) -> apsw.Connection:
        if self._connection:
            return self._connection
        if self._removed:
            # Another copy may lie at the same path by now.
            raise ForeignWriter(f"{self.path} was let go")
        # Never made here: a file that is gone is an error, not an empty database.
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.pragma("page_size", self.page_size)
        connection.pragma("journal_mode", "wal")
        # The replica makes commits durable, not the local disk: nothing here is resumed after a crash.
        connection.pragma("synchronous", "off")
        connection.pragma("foreign_keys", 1)
        connection.pragma("cache_size", -512)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.wal_autocheckpoint(0)
        # Last, because turning the automatic checkpoint off takes the hook's place.
        connection.set_wal_hook(self._note)
        self._connection = connection
        # Turning the log on writes to the file itself.
        self._measure()
        return connection

    def _note(self, _connection: apsw.Connection, _name: str, frames: int) -> int:
        """After each commit. An exception here would surface although the row is committed, so it only notes."""
        self._noted = frames
        return apsw.SQLITE_OK

    def _capture(self) -> None:
        if self._noted == _NO_COMMIT:
            return
        count = self._noted - self._captured
        if count <= 0:
            raise ForeignWriter(f"{self._wal} is shorter than before: another writer emptied it")
        salt, pages, commit = self._read_log(self._captured, count)
        if self._captured and salt != self._salt:
            raise ForeignWriter(f"{self._wal} was restarted by another writer")
        self._salt = salt
        if not commit:
            raise ForeignWriter(f"{self._wal} does not end with a commit")
        self._captured = self._noted
        self.seq += 1
        self._pending.append(_Commit(self.seq, pages, commit, self._captured))

    def _checkpoint(self) -> None:
        """Only when nothing is on its way: a roll-back cuts the log, so it must not reach the file before."""
        self._open().wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._captured = self._durable_frames = 0
        self._measure()

    def _image(self, frames: int) -> Image:
        """The database as it stands after the first ``frames`` frames of the log."""
        self._open()
        data = self.path.read_bytes()
        commit, pages = len(data) // self.page_size, dict(database_pages(data, self.page_size))
        if frames:
            _, newer, commit = self._read_log(0, frames)
            pages |= newer
        return Image(self.txid, commit, tuple(sorted(page for page in pages.items() if page[0] <= commit)))

    def _read_log(self, first: int, count: int) -> tuple[bytes, dict[int, bytes], int]:
        """The log's salt, and what `read_frames` finds in ``count`` of its frames from number ``first`` on."""
        with self._wal.open("rb", buffering=0) as log:
            log.seek(_SALT)
            salt = log.read(8)
            log.seek(self._frame_offset(first))
            data = log.read(count * (_FRAME_HEADER + self.page_size))
        return salt, *read_frames(data, count, salt, self.page_size)

    def _write_pages(self, files: Iterable[LtxFile]) -> None:
        """Bring the newest image of each page in ``files``, oldest first, into the file. A file that does not follow is
        found before anything is written."""
        files = list(files)
        reached, page_size = self.txid, self.page_size
        for header in (file.header for file in files):
            if not header.min_txid <= reached + 1 <= header.max_txid:
                raise ValueError(f"{header.min_txid:x} to {header.max_txid:x} does not follow TXID {reached:x}")
            if reached == 0:
                page_size = header.page_size
            if header.page_size != page_size:
                raise ValueError(f"pages of {header.page_size} bytes, not {page_size}")
            reached = header.max_txid
        self.page_size = page_size
        self.path.touch(0o600)
        with self.path.open("r+b", buffering=_WRITE_BUFFER) as disk:
            if sizes := [file.header.commit for file in files]:
                # What was cut off on the way must not come back when the file grows again.
                os.truncate(disk.fileno(), min(self.path.stat().st_size, min(sizes) * page_size))
                os.truncate(disk.fileno(), sizes[-1] * page_size)
            write_pages(disk, newest_pages(files), page_size)
        self.txid = reached

    def _measure(self) -> None:
        self._file_bytes = self.path.stat().st_size

    def _frame_offset(self, frames: int) -> int:
        """Where frame number ``frames``, counted from 0, begins in the log."""
        return _WAL_HEADER + frames * (_FRAME_HEADER + self.page_size)


def read_frames(data: bytes, count: int, salt: bytes, page_size: int) -> tuple[dict[int, bytes], int]:
    """The newest image of each page in ``count`` frames, and the database's size after the last one."""
    size = _FRAME_HEADER + page_size
    if len(data) != count * size:
        raise ForeignWriter(f"the log has {len(data)} bytes where {count} frames were written")
    pages: dict[int, bytes] = {}
    commit = 0
    for offset in range(0, len(data), size):
        number, commit = struct.unpack_from(">II", data, offset)
        if data[offset + 8 : offset + 16] != salt:
            raise ForeignWriter("a frame of the log has another salt")
        pages[number] = data[offset + _FRAME_HEADER : offset + size]
    return pages, commit


def write_pages(file: BinaryIO, pages: Mapping[int, bytes], page_size: int) -> None:
    """Write each page at its place. Raises ``OSError``, with part of them written."""
    following = 0
    for number in sorted(pages):
        # A seek empties the file's buffer, so pages that lie side by side are written without one.
        if number != following:
            file.seek((number - 1) * page_size)
        file.write(pages[number])
        following = number + 1
