"""The end of a profile's log in the store, as this Machine knows it: appending to it, and how fresh that knowledge is.

Appending, and looking for other writers' files, need the lock ``tail``. So a look never meets an upload of this Machine
that is still on its way, and never takes it for another writer's.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.replication.errors import Fenced, FileExists, Outdated, StoreError
from app.replication.layout import FileRef, highest
from app.replication.store import NewFile, Pages, ReplicaStore, new_file
from app.replication.tasks import Signal

DAY = 86400.0


@dataclass(frozen=True)
class Options:
    """``read_check``: seconds that a read may trust the last look for newer files; 0 looks each time, infinity never.
    ``retention``: seconds for which no file is ever deleted. ``snapshot_share``: a snapshot is due when the files
    behind the last one hold more than this share of the database's bytes. ``machine``: the name in this Machine's
    files, by which other Machines send requests to it; empty for none."""

    read_check: float = 1.0
    retention: float = 30 * DAY
    snapshot_share: float = 0.5
    machine: str = ""


def is_own(file: bytes, found: bytes) -> bool:
    """Whether what a refused create met is this writer's own file, whose answer was lost. It holds a random node id."""
    return file == found


def must_look_up(verified: float | None, date: float, retention: float) -> bool:
    """Whether "there is no next file" may be a deleted file's absence: nothing was verified for half the retention.
    Both times are the store's clock, in unix seconds: after a suspend a Machine's own clocks are wrong."""
    return verified is None or date - verified >= retention / 2


@dataclass(frozen=True)
class Moment:
    """By both of a Machine's clocks, in seconds. In a suspend the first stands still, and the second mostly jumps."""

    monotonic: float
    wall: float


def read_is_fresh(checked: Moment | None, started: Moment, options: Options) -> bool:
    """Whether a read that began at ``started`` may be served without another look for a newer file: the interval since
    the last look, which began at ``checked``, must not have passed by either clock."""
    if checked is None:
        return False
    if checked.monotonic >= started.monotonic:
        return True
    passed = started.monotonic - checked.monotonic, started.wall - checked.wall
    return options.read_check == math.inf or all(0 <= seconds < options.read_check for seconds in passed)


class Log:
    """``node`` is random for each start of the process, so that no file of an earlier start looks like one of this.

    ``files`` are those that merging needs to know. ``checked`` is when the last successful look or append began.
    ``verified`` is the store's clock when this Machine last knew that no other writer had come, in unix seconds.
    """

    def __init__(
        self,
        store: ReplicaStore,
        node: int,
        options: Options,
        signal: Signal,
        *,
        now: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self.store, self.node, self.options = store, node, options
        self.now, self.wall_ms = now, wall_ms
        self.files: list[FileRef] = []
        self.checked: Moment | None = None
        self.verified: float | None = None
        self.tail = asyncio.Lock()
        self.after_append: Callable[[FileRef, bytes, float], None] = lambda _ref, _data, _date: None
        self.signal = signal

    def new_file(self, ref: FileRef, size: tuple[int, int], pages: Pages, machine: str = "") -> NewFile:
        """A file of this writer, encoded here and now: see `new_file`."""
        return new_file(ref, size, pages, self.node, self.wall_ms(), machine)

    def moment(self) -> Moment:
        return Moment(self.now(), self.wall_ms() / 1000)

    def is_fresh(self, started: Moment) -> bool:
        """Whether what began at ``started`` needs no other look (``SYNC_READ_CHECK``)."""
        return read_is_fresh(self.checked, started, self.options)

    def checked_since(self, started: Moment) -> bool:
        """Whether a look or append that began after ``started`` has succeeded."""
        return self.checked is not None and self.checked.monotonic >= started.monotonic

    def note_check(self, started: Moment) -> None:
        """A look that began at ``started`` has succeeded."""
        self.checked = started
        self.signal.notify()

    def forget_check(self) -> None:
        """What was last looked at may not be the end of the log any more."""
        self.checked = None

    async def append(self, file: NewFile) -> None:
        """Create the file as the log's next one; call it with ``tail`` held.

        Raises ``Fenced`` where another writer's file is there, ``Outdated`` where the file landed behind files that
        this Machine has never seen, and ``StoreError`` where it is unknown whether the file is there.
        """
        started, ref = self.moment(), file.ref
        try:
            date = await self.store.create(file)
        except FileExists:
            found, date = await self.store.probe(ref)
            if found is None:
                raise StoreError(f"{ref.name} was there and then was not") from None
            if not is_own(file.data, found):
                certain = not must_look_up(self.verified, date, self.options.retention)
                raise Fenced(ref, found, certain=certain) from None
        if must_look_up(self.verified, date, self.options.retention):
            listed = await self.store.recent()
            date = listed.date
            if highest(listed.files) > ref.max_txid:
                raise Outdated(f"{ref.name} was written behind files that others had written long before")
        self.verified = date
        self.files.append(replace(ref, size=len(file.data), modified=date))
        self.note_check(started)
        # Those who wait for this file are woken first.
        asyncio.get_running_loop().call_soon(self.after_append, self.files[-1], file.data, date)
