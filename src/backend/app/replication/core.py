"""The protocol's decisions, without I/O: what is fetched, what an answer means, what may be acknowledged or deleted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.replication.layout import SNAPSHOT, TOP_LEVEL, FileRef, contiguous, highest

DAY = 86400.0


@dataclass(frozen=True)
class Options:
    """``read_check``: seconds that a read may trust the last look for newer files; 0 looks each time, infinity never.

    ``retention``: seconds for which no file is ever deleted. ``snapshot_share``: a snapshot is due when the files
    behind the last one hold more than this share of the database's bytes. ``machine``: the name that this Machine's
    files carry, by which other Machines send requests to it; empty where there is nothing to send them with.
    """

    read_check: float = 1.0
    retention: float = 30 * DAY
    snapshot_share: float = 0.5
    machine: str = ""


def is_own(file: bytes, found: bytes) -> bool:
    """Whether what a refused create met is this writer's own file, whose answer was lost. It holds a random node id."""
    return file == found


def catch_up_plan(files: Sequence[FileRef], reached: int) -> list[FileRef]:
    """The files that bring a copy at TXID ``reached`` to the newest one. Raises ``GapError``."""
    return contiguous(files, reached, until=highest(files))


def must_look_up(verified: float | None, date: float, retention: float) -> bool:
    """Whether "there is no next file" may be a deleted file's absence: nothing was verified for half the retention.

    Both times are the store's clock, in unix seconds. A Machine's own clocks cannot tell: after a suspend the
    monotonic one has stood still and the wall clock may be wrong.
    """
    return verified is None or date - verified >= retention / 2


@dataclass(frozen=True)
class Moment:
    """One moment by both of a Machine's clocks, in seconds. In a suspend the monotonic clock stands still, and the
    wall clock has usually jumped when it ends."""

    monotonic: float
    wall: float


def read_is_fresh(checked: Moment | None, started: Moment, options: Options) -> bool:
    """Whether a read that began at ``started`` may be served without another look for a newer file.

    ``checked`` is when the last look began. The interval must not have passed by either clock.
    """
    if checked is None:
        return False
    if checked.monotonic >= started.monotonic:
        return True
    passed = started.monotonic - checked.monotonic, started.wall - checked.wall
    return options.read_check == math.inf or all(0 <= seconds < options.read_check for seconds in passed)


def snapshot_due(files: Sequence[FileRef], database_bytes: int, options: Options) -> bool:
    """Whether what a reader must fetch behind the newest snapshot has outgrown its share of the database."""
    base = highest(file for file in files if file.level == SNAPSHOT)
    behind = sum(file.size for file in catch_up_plan(files, base))
    return behind > options.snapshot_share * database_bytes


def prune(files: Sequence[FileRef]) -> list[FileRef]:
    """The files that merging and snapshots still ask about; their answers are the same as with all files.

    A month has thousands of transactions, too many to remember for each profile. A file that is named twice, because
    a list saw it before the answer to its upload came, is kept once. Raises ``GapError``.
    """
    files = list({file.name: file for file in files}.values())
    tops = [highest(file for file in files if file.level == level) for level in range(SNAPSHOT + 1)]
    wanted = set(catch_up_plan(files, tops[SNAPSHOT]))
    for file in files:
        above = max(tops[file.level + 1], tops[SNAPSHOT]) if file.level < TOP_LEVEL else tops[SNAPSHOT]
        if file.max_txid == tops[file.level] or file.max_txid > above:
            wanted.add(file)
    return sorted(wanted)


def deletable(files: Sequence[FileRef], date: float, options: Options) -> list[FileRef]:
    """Files that neither a restore within the retention nor the fence needs: older than it, and wholly behind a
    snapshot that is itself older than it. The newest such snapshot and everything after it stays."""
    old = [file for file in files if file.modified and date - file.modified > options.retention]
    base = highest(file for file in old if file.level == SNAPSHOT)
    return [file for file in old if file.max_txid < base]
