"""Litestream's replica layout: names of files, which of them make a database, and which are due or may go.

``<replica>/<level, 4 hex digits>/<min TXID, 16>-<max TXID, 16>.ltx``; level 0 holds the transactions, 1 to 8 merged
ranges, 9 snapshots (benbjohnson/litestream v0.5.16).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.replication.errors import GapError

SNAPSHOT = 9
FANOUT = 32
TOP_LEVEL = 8
EMPTIED = b"deleted\n"
"""What a transaction of a deleted profile holds: its name goes on keeping writers from it."""
_NAME = re.compile(r"([0-9a-f]{4})/([0-9a-f]{16})-([0-9a-f]{16})\.ltx")


@dataclass(frozen=True, order=True)
class FileRef:
    """One file of a replica; ``size`` in bytes as listed, ``modified`` in unix seconds by the store's clock."""

    level: int
    min_txid: int
    max_txid: int
    size: int = 0
    modified: float = 0.0

    @property
    def name(self) -> str:
        """Key below the replica's prefix."""
        return f"{self.level:04x}/{self.min_txid:016x}-{self.max_txid:016x}.ltx"


def parse_name(name: str, size: int = 0, modified: float = 0.0) -> FileRef | None:
    """The file that ``name`` (below the replica's prefix) stands for; ``None`` for any other name, as in Litestream."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    level, low, high = (int(part, 16) for part in found.groups())
    if level > SNAPSHOT or not 1 <= low <= high or (level == SNAPSHOT and low != 1):
        return None
    return FileRef(level, low, high, size, modified)


def transaction(txid: int) -> FileRef:
    """The level-0 file of one TXID: always a single one, or a stale writer could beat a claim with a longer range."""
    return FileRef(0, txid, txid)


def highest(files: Iterable[FileRef]) -> int:
    """The highest TXID that any file holds; 0 for an empty replica."""
    return max((file.max_txid for file in files), default=0)


def restore_plan(files: Sequence[FileRef], until: int | None = None) -> list[FileRef]:
    """The files that rebuild the database at ``until`` (default: the newest), in the order to apply them.

    The newest snapshot first, then from any level the file that extends the contiguous range furthest. Raises
    ``GapError`` when the highest TXID (or ``until``) cannot be reached.
    """
    wanted = highest(files) if until is None else until
    usable = [file for file in files if file.max_txid <= wanted]
    snapshots = [file for file in usable if file.level == SNAPSHOT]
    plan = [max(snapshots, key=lambda file: file.max_txid)] if snapshots else []
    return [*plan, *contiguous(usable, highest(plan), until=wanted)]


def contiguous(files: Sequence[FileRef], after: int, *, until: int | None = None) -> list[FileRef]:
    """The files that follow TXID ``after`` without a gap: each the one that reaches furthest, of equals the smaller.
    Raises ``GapError`` where they end before the TXID ``until`` (default: the newest)."""
    run: list[FileRef] = []
    reached, until = after, highest(files) if until is None else until
    while fitting := [file for file in files if file.min_txid <= reached + 1 and file.max_txid > reached]:
        run.append(max(fitting, key=lambda file: (file.max_txid, -file.level)))
        reached = run[-1].max_txid
    if reached < until:
        behind = min((file.min_txid for file in files if file.min_txid > reached), default=until)
        raise GapError(reached + 1, f": the next file begins at {behind:016x}")
    return run


def unmerged(files: Sequence[FileRef]) -> int:
    """How many transactions neither a merged file nor a snapshot holds."""
    covered = highest(file for file in files if file.level in (1, SNAPSHOT))
    return sum(file.level == 0 and file.max_txid > covered for file in files)


def due_merge(files: Sequence[FileRef], level: int) -> list[FileRef]:
    """The oldest ``FANOUT`` contiguous files of ``level`` that neither a file of the next level nor a snapshot holds
    yet; empty: none due. Opening a profile fetches nothing that lies behind a snapshot."""
    covered = highest(file for file in files if file.level in (level + 1, SNAPSHOT))
    run: list[FileRef] = []
    for file in sorted(file for file in files if file.level == level and file.max_txid > covered):
        if run and file.name == run[-1].name:
            continue
        if run and file.min_txid != run[-1].max_txid + 1:
            run = []
        run.append(file)
        if len(run) == FANOUT:
            return run
    return []


def snapshot_due(files: Sequence[FileRef], database_bytes: int, share: float) -> bool:
    """Whether what a reader must fetch behind the newest snapshot has outgrown its ``share`` of the database."""
    base = highest(file for file in files if file.level == SNAPSHOT)
    behind = sum(file.size for file in contiguous(files, base))
    return behind > share * database_bytes


def prune(files: Sequence[FileRef]) -> list[FileRef]:
    """The files that merging and snapshots still ask about; their answers are the same as with all files.

    A month has thousands of transactions, too many to remember for each profile. A file that is named twice, because
    a list saw it before the answer to its upload came, is kept once. Raises ``GapError``.
    """
    files = list({file.name: file for file in files}.values())
    tops = [highest(file for file in files if file.level == level) for level in range(SNAPSHOT + 1)]
    wanted = set(contiguous(files, tops[SNAPSHOT]))
    for file in files:
        above = max(tops[file.level + 1], tops[SNAPSHOT]) if file.level < TOP_LEVEL else tops[SNAPSHOT]
        if file.max_txid == tops[file.level] or file.max_txid > above:
            wanted.add(file)
    return sorted(wanted)


def deletable(files: Sequence[FileRef], date: float, retention: float) -> list[FileRef]:
    """Files that neither a restore within the retention nor the fence needs: older than it, and wholly behind a
    snapshot that is itself older than it. The newest such snapshot and everything after it stays."""
    old = [file for file in files if file.modified and date - file.modified > retention]
    base = highest(file for file in old if file.level == SNAPSHOT)
    return [file for file in old if file.max_txid < base]
