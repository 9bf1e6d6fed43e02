from __future__ import annotations

from pathlib import Path

from scripts.summary import summarise

FAILED = '<testcase classname="t" name="b"><failure message="no&#10;more"/></testcase>'


def passed(name: str = "a") -> str:
    return f'<testcase classname="t" name="{name}"/>'


def skipped(name: str) -> str:
    return f'<testcase classname="t" name="{name}"><skipped message="no engine"/></testcase>'


def report(path: Path, *cases: str) -> Path:
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return path


def test_the_closing_line_adds_up_tests_and_checks(tmp_path: Path) -> None:
    reports = [
        ("tests", [report(tmp_path / "t", passed("a"), passed("b"), skipped("c"))]),
        ("checks", [report(tmp_path / "c", passed("a"))]),
    ]
    assert summarise([("lint", "passed", "1 s")], reports).closing_line == "3 passed, 0 failed, 1 skipped"


def test_a_failure_in_a_report_is_counted_once_although_its_step_failed_too(tmp_path: Path) -> None:
    summary = summarise([("tests", "failed", "")], [("tests", [report(tmp_path / "t", FAILED)])])
    assert summary.counts["failed"] == 1


def test_a_step_that_failed_without_a_report_is_a_failure(tmp_path: Path) -> None:
    summary = summarise([("lint", "failed", "")], [("tests", [report(tmp_path / "t", passed())])])
    assert summary.closing_line == "1 passed, 1 failed, 0 skipped"


def test_a_report_that_was_never_written_is_told(tmp_path: Path) -> None:
    summary = summarise([("checks", "failed", "")], [("checks", [tmp_path / "none"])])
    assert "checks: no results" in summary.lines
    assert summary.counts["failed"] == 1


def test_what_could_not_run_is_listed_with_its_reason(tmp_path: Path) -> None:
    summary = summarise([], [("checks", [report(tmp_path / "c", skipped("a"), skipped("b"))])])
    assert "    could not run (2): no engine" in summary.lines


def test_a_test_that_passed_when_run_alone_counts_as_passed_and_is_named_with_its_failure(tmp_path: Path) -> None:
    reports = [report(tmp_path / "t", passed(), FAILED), report(tmp_path / "again", passed("b"))]
    summary = summarise([("tests", "passed", "")], [("tests", reports)])
    assert summary.closing_line == "2 passed, 0 failed, 0 skipped"
    assert "    failed, then passed when run alone: t::b: no" in summary.lines


def test_a_test_that_failed_alone_as_well_is_a_failure(tmp_path: Path) -> None:
    reports = [report(tmp_path / "t", passed(), FAILED), report(tmp_path / "again", FAILED)]
    assert summarise([], [("tests", reports)]).closing_line == "1 passed, 1 failed, 0 skipped"


def test_a_failure_that_was_not_run_again_is_a_failure(tmp_path: Path) -> None:
    reports = [report(tmp_path / "t", passed(), FAILED), tmp_path / "none"]
    assert summarise([], [("tests", reports)]).counts["failed"] == 1


def test_a_test_that_passed_and_could_not_be_cleared_up_counts_as_failed(tmp_path: Path) -> None:
    error = '<testcase classname="t" name="a"><error message="no"/></testcase>'
    assert summarise([], [("tests", [report(tmp_path / "t", passed(), error)])]).closing_line.startswith("0 passed, 1")
