"""Where two targets differ."""

from __future__ import annotations

from parity.report.findings import Findings


def compare_lines(one: Findings, other: Findings) -> tuple[list[str], bool]:
    """The lines, and whether a verdict differs. A check that ran on one of them only differs too."""
    ours, theirs = ({f.name: f for f in findings.found if not f.proof} for findings in (one, other))
    lines, differ = [f"{'check':<44} {one.target:<14} {other.target:<14}"], False
    for name in sorted({*ours, *theirs}):
        a, b = ours.get(name), theirs.get(name)
        verdicts = [str(found.verdict) if found else "not run" for found in (a, b)]
        same = verdicts[0] == verdicts[1]
        differ = differ or not same
        lines.append(f"{name:<44} {verdicts[0]:<14} {verdicts[1]:<14}{'' if same else ' ← differs'}")
        lines += [f"    {f.reason.splitlines()[0]}" for f in (a, b) if f and not same and f.reason]
    return [*lines, "they differ" if differ else "no difference"], differ
