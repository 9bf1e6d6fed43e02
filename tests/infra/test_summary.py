from __future__ import annotations

from pathlib import Path

from scripts.summary import summarise

PASSED = '<testcase name="a"/>'
FAILED = '<testcase name="b"><failure message="no"/></testcase>'
SKIPPED = '<testcase name="c"><skipped message="no engine"/></testcase>'


def report(path: Path, *cases: str) -> Path:
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return path


def test_the_closing_line_adds_up_tests_and_checks(tmp_path: Path) -> None:
    reports = [("tests", report(tmp_path / "t", PASSED, PASSED, SKIPPED)), ("checks", report(tmp_path / "c", PASSED))]
    assert summarise([("lint", "passed", "1 s")], reports).closing_line == "3 passed, 0 failed, 1 skipped"


def test_a_failure_in_a_report_is_counted_once_although_its_step_failed_too(tmp_path: Path) -> None:
    summary = summarise([("tests", "failed", "")], [("tests", report(tmp_path / "t", FAILED))])
    assert summary.counts["failed"] == 1


def test_a_step_that_failed_without_a_report_is_a_failure(tmp_path: Path) -> None:
    summary = summarise([("lint", "failed", "")], [("tests", report(tmp_path / "t", PASSED))])
    assert summary.closing_line == "1 passed, 1 failed, 0 skipped"


def test_a_report_that_was_never_written_is_told(tmp_path: Path) -> None:
    summary = summarise([("checks", "failed", "")], [("checks", tmp_path / "none")])
    assert "checks: no results" in summary.lines
    assert summary.counts["failed"] == 1


def test_what_could_not_run_is_listed_with_its_reason(tmp_path: Path) -> None:
    summary = summarise([], [("checks", report(tmp_path / "c", SKIPPED, SKIPPED))])
    assert "    could not run (2): no engine" in summary.lines
