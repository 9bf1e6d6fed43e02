"""What a run of checks found; everything else in this room renders it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path


class Outcome(StrEnum):
    """How a check ended. Skipped and error are never a pass."""

    PASSED = "passed"
    FAILED = "failed"  # the invariant does not hold
    ERROR = "error"  # the observation could not be made
    SKIPPED = "skipped"  # this target cannot show it; the reasons say why


@dataclass(frozen=True)
class Proof:
    """Whether a check's broken variant was caught; ``reasons`` is what the check said about it."""

    variant: str
    caught: bool | None  # None: the variant could not be put in place here
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Result:
    """One check's end; ``seconds`` is wall time."""

    id: str
    title: str
    capability: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    proof: Proof | None = None
    evidence: Path | None = None


@dataclass(frozen=True)
class Run:
    """All results of one call. ``known`` is every registered check, run or not: a partial run shows by it."""

    target: str
    driver: str
    started_at: datetime
    results: Sequence[Result]
    known: Sequence[str]
    tools: dict[str, str] = field(default_factory=dict)

    def count(self, outcome: Outcome) -> int:
        return sum(result.outcome is outcome for result in self.results)

    @property
    def unproven(self) -> list[Result]:
        """Checks whose broken variant went unnoticed or, though asked for, could not be put in place."""
        return [result for result in self.results if result.proof is not None and not result.proof.caught]

    @property
    def ok(self) -> bool:
        """Nothing failed, every broken variant that was asked for was caught, and something ran."""
        bad = self.count(Outcome.FAILED) + self.count(Outcome.ERROR) + len(self.unproven)
        return bad == 0 and self.count(Outcome.PASSED) > 0
