"""What replication asks of the place where a replica lies. Names are those of `layout.FileRef.name`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.replication.layout import FileRef
from app.replication.ltx import Header, encode

Pages = Iterable[tuple[int, bytes]]


@dataclass(frozen=True)
class Listed:
    """The replica's files, without other names, and the store's clock in unix seconds.

    ``date`` is never later than the true time: files are deleted by it, and a writer notes it as the moment at which
    it was not fenced. The clock that other calls give is never earlier than the true time, so that an error makes such
    a writer look once more. ``taken_over`` holds the ETags of whole-file databases that the replica was made from.
    """

    files: Sequence[FileRef]
    date: float
    taken_over: frozenset[str] = frozenset()


@dataclass(frozen=True)
class NewFile:
    """A file that is to be created; ``stamp`` is its time in ms since the epoch."""

    ref: FileRef
    data: bytes
    stamp: int


def new_file(ref: FileRef, size: tuple[int, int], pages: Pages, node: int, stamp: int, machine: str = "") -> NewFile:
    """``size`` is the database's: bytes of a page, and pages; ``node`` is the writer's random number."""
    header = Header(*size, ref.min_txid, ref.max_txid, stamp, node, machine)
    return NewFile(ref, encode(header, pages, dense=ref.level > 0), stamp)


class ReplicaStore(Protocol):
    """One profile's replica. Every method has a deadline of its own and raises `StoreError` past it."""

    async def create(self, file: NewFile) -> float:
        """Write the file only if there is none; the store's clock. Raises `FileExists`. A repeat of a try whose answer
        was lost may raise `FileExists` although this call's bytes are what is there."""

    async def probe(self, ref: FileRef) -> tuple[bytes | None, float]:
        """The file's bytes, or None where the store answered that there is none; and the store's clock."""

    async def list(self) -> Listed:
        """Every file of the replica."""

    async def recent(self, early: Callable[[Sequence[FileRef]], None] | None = None) -> Listed:
        """The files that a copy of the newest state is built from; of the transactions those behind all merged files
        may be left out. The newest file is always among them. ``early`` is called with the merged files as soon as
        they are listed, before the transactions are."""

    async def legacy(self) -> tuple[bytes, str] | None:
        """The whole-file database that was kept before there was a replica, and its ETag; None where there is none."""

    async def legacy_etag(self) -> str | None:
        """The ETag of that file as it is now; None where there is none."""

    async def note_taken_over(self, etag: str) -> None:
        """Note that the replica is made from the whole file with this ETag. Doing it twice is no error."""

    async def delete(self, refs: Sequence[FileRef]) -> None:
        """Deleting what is missing is no error."""
