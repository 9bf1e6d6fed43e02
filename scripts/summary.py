"""Prints what ``make test`` ran and what it could not run, and a line with counts. Exits with 1 if anything failed.

Usage: summary.py STEPS.tsv NAME=JUNIT.xml[,AGAIN.xml]…  A step is ``name<TAB>passed|failed|skipped<TAB>note``.
AGAIN.xml reports a second run of the tests that failed in the first: what passes there counts as passed and is named.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Summary:
    """``lines`` to print; ``counts`` of tests and checks, and of steps without a report."""

    lines: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def closing_line(self) -> str:
        return ", ".join(f"{self.counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped"))


@dataclass
class Outcomes:
    """The outcomes of one report: ``failures`` and ``skips`` give each test its message."""

    passed: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    skips: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, report: Path) -> Outcomes:
        found = cls()
        for case in ET.parse(report).getroot().iter("testcase"):
            name = f"{case.get('classname')}::{case.get('name')}"
            failure = next((case.find(kind) for kind in ("failure", "error") if case.find(kind) is not None), None)
            skipped = case.find("skipped")
            if failure is not None:
                found.failures[name] = (failure.get("message") or "no message").partition("\n")[0]
            elif skipped is not None:
                found.skips[name] = skipped.get("message") or "no reason given"
            else:
                found.passed.add(name)
        # pytest reports a test twice whose clearing up failed: as passed and as an error.
        found.passed -= found.failures.keys()
        return found

    @property
    def counts(self) -> Counter[str]:
        return Counter(passed=len(self.passed), failed=len(self.failures), skipped=len(self.skips))

    def run_again(self, again: Outcomes) -> dict[str, str]:
        """Take over what passed in a second run; return the first failures of those tests."""
        mended = {name: self.failures.pop(name) for name in again.passed & self.failures.keys()}
        self.passed |= mended.keys()
        return mended


def summarise(steps: Sequence[tuple[str, str, str]], reports: Sequence[tuple[str, Sequence[Path]]]) -> Summary:
    """Summarise all steps. A failed step only counts as a failure if no report has one, as after a crash or lint."""
    summary = Summary()
    counted: Counter[str] = Counter()
    for name, (report, *again) in reports:
        if not report.exists():
            summary.lines.append(f"{name}: no results")
            continue
        found = Outcomes.of(report)
        unsteady: dict[str, str] = {}
        for second in filter(Path.exists, again):
            unsteady |= found.run_again(Outcomes.of(second))
        counts = found.counts
        counted += counts
        summary.lines.append(
            f"{name}: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} could not run"
        )
        summary.lines += [
            f"    failed, then passed when run alone: {test}: {message}" for test, message in unsteady.items()
        ]
        reasons = Counter(found.skips.values())
        summary.lines += [f"    could not run ({times}): {reason}" for reason, times in reasons.most_common()]
    for name, outcome, note in steps:
        summary.lines.append(f"{outcome:8}{name}" + (f" ({note})" if note else ""))
    failed_steps = sum(outcome == "failed" for _, outcome, _ in steps)
    summary.counts = counted
    summary.counts["skipped"] += sum(outcome == "skipped" for _, outcome, _ in steps)
    if failed_steps and not counted["failed"]:
        summary.counts["failed"] += failed_steps
    return summary


def main(arguments: Sequence[str]) -> int:
    steps_file, *named = arguments
    steps = []
    for line in Path(steps_file).read_text("utf-8").splitlines():
        name, outcome, note = line.split("\t")
        steps.append((name, outcome, note))
    reports = [
        (name, [Path(path) for path in paths.split(",")])
        for name, _, paths in (argument.partition("=") for argument in named)
    ]
    summary = summarise(steps, reports)
    sys.stdout.write("\n== what ran\n" + "\n".join(summary.lines) + f"\n\n{summary.closing_line}\n")
    return 1 if summary.counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
