from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from parity.report.html import html_page
from parity.report.junit import junit_xml
from parity.report.results import Outcome, Proof, Run
from parity.report.terminal import result_lines, skipped_lines, summary_line


def test_a_run_with_a_failure_an_error_or_a_blind_check_is_not_ok(run: Run) -> None:
    assert not run.ok
    only = [result for result in run.results if result.id in ("fine", "elsewhere")]
    assert replace(run, results=only).ok
    assert not replace(run, results=[*only, run.results[3]]).ok


def test_a_run_where_everything_was_skipped_is_not_ok(run: Run) -> None:
    assert not replace(run, results=[run.results[4]]).ok


def test_a_broken_variant_that_could_not_be_put_in_place_is_no_proof(run: Run) -> None:
    untried = replace(run.results[0], proof=Proof("bad env", None, ("no admin",)))
    assert not replace(run, results=[untried]).ok


def test_an_unnoticed_broken_variant_counts_as_a_failure(run: Run) -> None:
    assert summary_line(run) == "checks: 2 passed, 3 failed, 1 skipped"


def test_the_summary_ends_with_what_could_not_be_shown_and_why(run: Run) -> None:
    assert skipped_lines(run) == ["not shown here: elsewhere: needs Docker"]


def test_a_failure_shows_its_reasons_and_where_the_evidence_lies(run: Run) -> None:
    text = "\n".join(result_lines(run.results[1]))
    assert "<b>wrong</b>" in text
    assert "f/broken" in text


def test_junit_counts_each_outcome_and_each_broken_variant(run: Run) -> None:
    suite = ElementTree.fromstring(junit_xml(run))
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "7",
        "failures": "2",
        "errors": "1",
        "skipped": "1",
    }


def test_junit_is_well_formed_whatever_a_response_contained(run: Run) -> None:
    bad = replace(run.results[1], outcome=Outcome.FAILED, reasons=("\x00\x1b[31m\ud800",))
    suite = ElementTree.fromstring(junit_xml(replace(run, results=[bad])))
    assert suite.find("testcase/failure") is not None


def test_the_page_escapes_what_came_from_outside_and_fetches_nothing(run: Run) -> None:
    page = html_page(run)
    assert "<b>wrong</b>" not in page
    assert "&lt;b&gt;wrong&lt;/b&gt;" in page
    assert "src=" not in page
    assert "href=" not in page


def test_the_page_names_checks_that_were_not_asked_for(run: Run) -> None:
    assert "unasked" in html_page(run)
