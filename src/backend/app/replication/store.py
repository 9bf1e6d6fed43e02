"""What replication asks of the place where a replica lies. Names are those of `layout.FileRef.name`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.replication.layout import FileRef


class StoreError(Exception):
    """The store could not be asked or understood: nothing is known. Never means that something is missing."""


class FileExists(Exception):
    """The store answered that the file is there already; nothing was written by this call."""


@dataclass(frozen=True)
class Listed:
    """The replica's files, names that are not files left out, and the store's clock, never later than it is: by it
    files are deleted, and a writer says since when it knows that it is not fenced. Other calls give a clock that is
    never earlier, so that such a writer rather looks once more."""

    files: Sequence[FileRef]
    date: float


@dataclass(frozen=True)
class NewFile:
    """A file that is to be created; ``stamp`` is its time in ms since the epoch."""

    ref: FileRef
    data: bytes
    stamp: int


class ReplicaStore(Protocol):
    """One profile's replica. Every method has a deadline of its own and raises `StoreError` past it."""

    async def create(self, file: NewFile) -> float:
        """Write the file only if there is none; the store's clock. Raises `FileExists`.

        A repeat of a try whose answer was lost may raise `FileExists` although this call's bytes are what is there.
        """
        ...

    def create_made(
        self, make: Callable[[], NewFile | None], made: Callable[[], None]
    ) -> Coroutine[Any, Any, float | None]:
        """`create` of what ``make`` gives, by the thread that made it; None where it gives nothing. May be at work
        before it is awaited.

        ``made`` is called once, in the event loop: soon after ``make`` has ended, and never after this has.
        """
        ...

    def has_room(self) -> bool:
        """Whether `create_made` would begin at once."""
        ...

    async def probe(self, ref: FileRef) -> tuple[bytes | None, float]:
        """The file's bytes, or None where the store answered that there is none; and the store's clock."""
        ...

    async def list(self) -> Listed:
        """Every file of the replica."""
        ...

    async def recent(self, early: Callable[[Sequence[FileRef]], None] | None = None) -> Listed:
        """The files that a copy of the newest state is built from; of the transactions those behind all merged files
        may be left out. The newest file is always among them. ``early`` is told of those that are known first."""
        ...

    async def request(self, node: int) -> None:
        """Ask the owner ``node`` to give the replica up. Asking twice is no error."""
        ...

    async def take_request(self, node: int) -> bool:
        """Whether someone asked ``node`` to; the request is gone then."""
        ...

    async def legacy(self) -> bytes | None:
        """The whole-file database that was kept before there was a replica; None where there is none."""
        ...

    async def delete(self, refs: Sequence[FileRef]) -> None:
        """Deleting what is missing is no error."""
        ...
