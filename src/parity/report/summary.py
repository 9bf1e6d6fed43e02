"""The end of a run on one screen: what failed, why, what to do, where the evidence is; then what was not shown."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence

from parity.report.findings import Finding, Findings, Verdict, counted

# A reason is cut after so many lines; all of it stands in the evidence and on the page.
REASON_LINES = 4
TOLD = (Verdict.FAILED, Verdict.NOT_CAUGHT, Verdict.ERROR, Verdict.VOID)
GROUPS = {
    Verdict.NOT_JUDGED: "not judged",
    Verdict.NOT_DECLARED: "not declared",
    Verdict.NOT_SHOWN: "cannot be shown here",
}
INDENT = " " * 8


def summary_lines(findings: Findings, width: int = 120) -> list[str]:
    """The lines, each at most ``width`` wide; none for a run without checks."""
    if not findings.found:
        return []
    lines = [f"target {findings.target} ({findings.driver}): {findings.api}", ""]
    for verdict in TOLD:
        for one in findings.of(verdict):
            lines += [*told(one, width), ""]
    for verdict, title in GROUPS.items():
        lines += grouped(findings.of(verdict), title, width)
    unproven = [one for one in findings.found if not one.proof and one.unproven]
    if any(one.proof for one in findings.found) and unproven:
        lines += grouped(unproven, "without a broken variant", width, reason=lambda one: one.unproven)
    return [*lines, closing_line(findings)]


def told(one: Finding, width: int) -> list[str]:
    """One check that did not end well."""
    what = f"proof of {one.name} by {one.broken}: {one.title}" if one.proof else f"{one.title} ({one.name})"
    reason = [line for text in one.reason.splitlines() for line in _wrapped(text, width)]
    more = [f"{INDENT}…"] if len(reason) > REASON_LINES else []
    lines = [f"{one.verdict.upper()}  {one.kind} {one.topic}  {what}", *reason[:REASON_LINES], *more]
    if one.next_step:
        lines += _wrapped(f"to do: {one.next_step}", width)
    return [*lines, f"{INDENT}evidence: {one.evidence}"] if one.evidence else lines


def grouped(
    found: Sequence[Finding], title: str, width: int, reason: Callable[[Finding], str] = lambda one: one.reason
) -> list[str]:
    """Checks that have the same to say, together."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for one in found:
        by_reason[reason(one).splitlines()[0] if reason(one) else ""].append(
            f"proof of {one.name}" if one.proof else one.name
        )
    lines = []
    for why, names in by_reason.items():
        lines += textwrap.wrap(f"{title} ({len(names)}): {why}", width, subsequent_indent=INDENT)
        lines += _wrapped(", ".join(names), width)
    return lines


def closing_line(findings: Findings) -> str:
    """Counts and time."""
    seconds = findings.ended - findings.began
    return f"checks: {counted(one.verdict for one in findings.found)} in {seconds:.0f} s"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=INDENT, subsequent_indent=INDENT)
