"""The screen at the end of a run."""

from __future__ import annotations

from dataclasses import replace

from parity.report.findings import Findings, Verdict
from parity.report.summary import summary_lines


def test_a_failure_says_what_why_what_to_do_and_where(findings: Findings) -> None:
    text = "\n".join(summary_lines(findings))
    block = text[text.index("FAILED  B durability  It breaks (test_wrong)") :].split("\n\n")[0]
    assert "are lost" in block
    assert "to do: look there" in block
    assert "evidence: .parity/failures/test_wrong" in block


def test_what_is_no_failure_of_the_app_says_what_to_do_too(findings: Findings) -> None:
    text = "\n".join(summary_lines(findings))
    assert "to do: look whether the broken variant" in text[text.index("NOT CAUGHT") :].split("\n\n")[0]
    assert "to do: this says nothing about the app" in text[text.index("ERROR") :].split("\n\n")[0]
    wrong = [replace(one, proof=True) for one in findings.of(Verdict.ERROR)]
    assert "to do: the proof shows nothing" in "\n".join(summary_lines(replace(findings, found=wrong)))


def test_bad_ends_come_first_and_what_holds_is_only_counted(findings: Findings) -> None:
    text = "\n".join(summary_lines(findings))
    places = [text.index(word) for word in ("FAILED", "NOT CAUGHT", "ERROR", "VOID", "not judged", "not declared")]
    assert places == sorted(places)
    assert "It holds" not in text


def test_checks_with_the_same_reason_stand_together(findings: Findings) -> None:
    lines = summary_lines(findings)
    at = lines.index("not declared (2): the contract does not say: edit")
    assert lines[at + 1].split() == ["test_edit,", "test_more_edits"]
    assert "cannot be shown here (1): the process stack runs the sources" in lines
    assert "without a broken variant (1): it is about the host" in lines


def test_the_last_line_counts_every_verdict(findings: Findings) -> None:
    assert summary_lines(findings)[-1] == (
        "checks: 2 passed, 1 failed, 1 error, 2 not declared, 1 not judged, 1 not shown, 1 caught, 1 not caught, "
        "1 void in 61 s"
    )


def test_no_line_is_wider_than_the_screen_and_a_long_reason_is_cut(findings: Findings) -> None:
    long = [replace(one, reason="word " * 400) for one in findings.found]
    lines = summary_lines(replace(findings, found=long), width=100)
    assert max(len(line) for line in lines if not line.startswith("checks:")) <= 100
    assert any(line.strip() == "…" for line in lines)


def test_a_run_without_checks_says_nothing(findings: Findings) -> None:
    assert summary_lines(replace(findings, found=[])) == []
