"""Prints what ``make test`` ran and what it could not run, and a line with counts. Exits with 1 if anything failed.

Usage: summary.py STEPS.tsv NAME=JUNIT.xml…  A step is ``name<TAB>passed|failed|skipped<TAB>note``.
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


def outcomes(report: Path) -> tuple[Counter[str], Counter[str]]:
    """The outcomes of a JUnit report, and the reasons for skips with their counts."""
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for case in ET.parse(report).getroot().iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            counts["failed"] += 1
        elif skipped is not None:
            counts["skipped"] += 1
            reasons[skipped.get("message") or "no reason given"] += 1
        else:
            counts["passed"] += 1
    return counts, reasons


def summarise(steps: Sequence[tuple[str, str, str]], reports: Sequence[tuple[str, Path]]) -> Summary:
    """Summarise all steps. A failed step only counts as a failure if no report has one, as after a crash or lint."""
    summary = Summary()
    counted: Counter[str] = Counter()
    for name, report in reports:
        if not report.exists():
            summary.lines.append(f"{name}: no results")
            continue
        found, reasons = outcomes(report)
        counted += found
        summary.lines.append(
            f"{name}: {found['passed']} passed, {found['failed']} failed, {found['skipped']} could not run"
        )
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
    reports = [(name, Path(path)) for name, _, path in (argument.partition("=") for argument in named)]
    summary = summarise(steps, reports)
    sys.stdout.write("\n== what ran\n" + "\n".join(summary.lines) + f"\n\n{summary.closing_line}\n")
    return 1 if summary.counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
