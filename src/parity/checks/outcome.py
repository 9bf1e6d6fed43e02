"""Combines the verdicts of a test's three phases (setup, call, teardown), and shows the result in pytest's terms."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from parity.checks.mark import CLASSES, About
from parity.report.findings import AGAINST_THE_APP, AGAINST_THE_CHECKS, WITHOUT_AN_ANSWER, Verdict

# The exit code of a run in which no check failed but some could not be judged. pytest itself uses 0 to 5.
NO_ANSWER = 6
# Verdicts for which evidence is written.
BAD = AGAINST_THE_APP | AGAINST_THE_CHECKS | {Verdict.ERROR}


@dataclass
class Ended:
    """The result of one test so far. The first verdict other than passed or caught is final."""

    name: str
    about: About
    proof: bool
    to_do: str = ""
    variant: str = ""
    verdict: Verdict | None = None
    reason: str = ""
    evidence: str = ""
    seconds: float = 0.0

    @property
    def bad(self) -> bool:
        return self.verdict in BAD

    def add(self, verdict: Verdict | None, reason: str, seconds: float) -> None:
        """Add the verdict, the reason and the duration of one more phase; a verdict of None adds only its duration."""
        self.seconds += max(0.0, seconds)
        if verdict is None:
            return
        if self.verdict in (None, Verdict.PASSED, Verdict.CAUGHT):
            self.verdict, self.reason = verdict, reason

    def change(self, report: pytest.TestReport, verdict: Verdict | None, *, evidence: Path) -> None:
        """Change pytest's report of the phase so that it agrees with the verdict.

        JUnit counts a failure outside the call phase as an error, so an error of the harness is reported as setup.
        """
        if self.verdict is Verdict.CAUGHT and report.when == "call":
            report.outcome, report.longrepr = "passed", None
        elif self.verdict is Verdict.NOT_CAUGHT and report.when == "call":
            report.outcome, report.longrepr = "failed", f"not caught: {self.variant} is in place, and it passes"
        elif self.verdict is Verdict.ERROR and report.when == "call":
            report.outcome, report.when = "failed", "setup"
            report.longrepr = report.longrepr if verdict is Verdict.ERROR and report.longrepr else self.reason
        elif self.verdict is Verdict.ERROR and self.proof and report.skipped:
            report.outcome, report.longrepr = "failed", self.reason
        if self.bad and report.failed:
            self.evidence = str(evidence)
            report.sections.append(("verdict", f"{self.verdict}: {self.reason}"))
            report.sections.append(("evidence", str(evidence)))

    def as_dict(self) -> dict[str, Any]:
        """The result as plain values, which xdist can send to another process."""
        return {
            "name": self.name,
            "kind": self.about.kind,
            "topic": CLASSES[self.about.kind][0],
            "title": self.about.title,
            "proof": self.proof,
            "verdict": self.verdict.value if self.verdict else "",
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "to_do": self.to_do,
            "broken": self.variant,
            "unproven": self.about.unproven,
            "evidence": self.evidence,
        }


DURING = pytest.StashKey[Ended]()

_LETTERS = {
    Verdict.PASSED: ("passed", ".", "PASSED"),
    Verdict.FAILED: ("failed", "F", "FAILED"),
    Verdict.ERROR: ("error", "E", "ERROR"),
    Verdict.NOT_CAUGHT: ("not caught", "N", "NOT CAUGHT"),
    Verdict.VOID: ("void", "V", "VOID"),
    Verdict.CAUGHT: ("caught", "c", "CAUGHT"),
    Verdict.NOT_DECLARED: ("not declared", "-", "NOT DECLARED"),
    Verdict.NOT_JUDGED: ("not judged", "?", "NOT JUDGED"),
    Verdict.NOT_SHOWN: ("not shown here", "s", "NOT SHOWN HERE"),
}


def status_letters(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """pytest's category, letter and word for a report of a check; None leaves it to pytest."""
    entry = getattr(report, "parity", None)
    if not entry or not entry["verdict"]:
        return None
    verdict = Verdict(entry["verdict"])
    if verdict in (Verdict.PASSED, Verdict.CAUGHT):
        # A pass is counted only at teardown: a teardown can still fail, and the check would then be counted twice.
        return _LETTERS[verdict] if report.when == "teardown" else ("", "", "")
    return None if report.when == "teardown" and not report.failed else _LETTERS[verdict]


def exit_code(pytests: int, verdicts: Collection[Verdict]) -> int:
    """The exit code of the run.

    0: every check that ran passed. 1: the app failed a check, or a broken variant was not caught. ``NO_ANSWER``:
    nothing failed, but something could not be judged, or no check passed. pytest's own codes for an interrupted or
    empty run stay.
    """
    if pytests not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not verdicts:
        return pytests
    if any(verdict in AGAINST_THE_APP | AGAINST_THE_CHECKS for verdict in verdicts):
        return int(pytest.ExitCode.TESTS_FAILED)
    if any(verdict in WITHOUT_AN_ANSWER for verdict in verdicts) or Verdict.PASSED not in verdicts:
        return NO_ANSWER
    return pytests
