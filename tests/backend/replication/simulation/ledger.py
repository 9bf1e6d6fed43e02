"""What clients were told, and what that forbids from then on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """``acknowledged`` and ``shown``: rows with the moment at which a client first knew that they are there.
    ``conflicts``: rows of requests that were told that nothing of them was kept, and by whom.
    ``strange``: rows that an older release wrote into a newer one's schema. ``authors``: the Machine of each row.
    ``counted`` and ``tried``: increments of the one shared counter that were acknowledged, and that were asked for;
    ``counters`` are the Machines that acknowledged them.
    ``deleting`` and ``deleted``: when a deletion of the profile began, and when one was first over."""

    acknowledged: dict[int, float] = field(default_factory=dict)
    shown: dict[int, float] = field(default_factory=dict)
    conflicts: dict[int, str] = field(default_factory=dict)
    strange: dict[int, str] = field(default_factory=dict)
    authors: dict[int, str] = field(default_factory=dict)
    replaced: dict[int, str] = field(default_factory=dict)
    counters: set[str] = field(default_factory=set)
    counted: int = 0
    tried: int = 0
    deleting: float | None = None
    deleted: float | None = None
    violations: list[str] = field(default_factory=list)
    schedule: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unexpected: list[BaseException] = field(default_factory=list)
    rows: int = 0

    def note(self, text: str) -> None:
        self.schedule.append(f"{asyncio.get_running_loop().time():9.3f} {text}")

    def violate(self, text: str) -> None:
        self.note(f"VIOLATION {text}")
        self.violations.append(text)

    def new_row(self) -> int:
        self.rows += 1
        return self.rows - 1

    def acknowledge(self, row: int) -> None:
        self.acknowledged[row] = asyncio.get_running_loop().time()
        self.counts["acknowledged"] += 1

    def show(self, rows: Iterable[int]) -> None:
        now = asyncio.get_running_loop().time()
        for row in rows:
            self.shown.setdefault(row, now)

    def known(self, until: float) -> set[int]:
        """Rows that some client knew to be there at the moment ``until``."""
        return {row for told in (self.acknowledged, self.shown) for row, at in told.items() if at <= until}
