"""Results as lines of a terminal."""

from __future__ import annotations

from parity.report.results import Outcome, Proof, Result, Run

_MARK = {Outcome.PASSED: "ok", Outcome.FAILED: "FAILED", Outcome.ERROR: "ERROR", Outcome.SKIPPED: "skipped"}


def result_lines(result: Result) -> list[str]:
    """One line, and one more for each reason, the proof and the folder with the evidence."""
    lines = [f"{_MARK[result.outcome]:<8} {result.id:<26} {result.seconds:6.1f} s  {result.title}"]
    lines += [f"           - {reason}" for reason in result.reasons]
    if result.proof is not None:
        lines += proof_lines(result.proof)
    if result.evidence is not None:
        lines.append(f"           see {result.evidence}")
    return lines


def proof_lines(proof: Proof) -> list[str]:
    if proof.caught is None:
        return [f"           broken variant ({proof.variant}) not tried: {'; '.join(proof.reasons)}"]
    if not proof.caught:
        return [f"           NOT CAUGHT: broken variant ({proof.variant}) passed in {proof.seconds:.1f} s"]
    why = proof.reasons[0] if proof.reasons else "no reason given"
    return [f"           caught its broken variant ({proof.variant}) in {proof.seconds:.1f} s: {why}"]


def summary_line(run: Run) -> str:
    """The line that says what ran, in a form that test counters read: ``N passed, N failed, N skipped``."""
    failed = run.count(Outcome.FAILED) + run.count(Outcome.ERROR) + len(run.unproven)
    return f"checks: {run.count(Outcome.PASSED)} passed, {failed} failed, {run.count(Outcome.SKIPPED)} skipped"


def skipped_lines(run: Run) -> list[str]:
    """What this run could not show, and why."""
    return [f"not shown here: {r.id}: {'; '.join(r.reasons)}" for r in run.results if r.outcome is Outcome.SKIPPED]
