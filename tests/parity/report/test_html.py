"""The page: everything is on it, nothing is interpreted."""

from __future__ import annotations

import re
from dataclasses import replace

from parity.report.findings import Findings, Verdict
from parity.report.html import SECTIONS, html_page


def test_every_check_stands_in_the_section_of_its_verdict(findings: Findings) -> None:
    page = html_page(findings)
    sections = page.split("<h2>")[1:]
    assert [section.partition(" (")[0] for section in sections] == [title for title, _ in SECTIONS]
    for section, (_, verdicts) in zip(sections, SECTIONS, strict=True):
        names = re.findall(r"<td><code>(\w+)</code>", section)
        assert names == [one.name for one in findings.of(*verdicts)]


def test_every_verdict_has_a_section() -> None:
    assert {verdict for _, verdicts in SECTIONS for verdict in verdicts} == set(Verdict)


def test_what_came_from_outside_is_escaped(findings: Findings) -> None:
    page = html_page(findings)
    assert "<b>2 of 3</b>" not in page
    assert "&lt;b&gt;2 of 3&lt;/b&gt;" in page


def test_a_check_that_never_ended_is_named(findings: Findings) -> None:
    assert "<dt>did not end</dt><dd>test_killed</dd>" in html_page(findings)


def test_the_headline_is_good_only_without_anything_bad_or_open(findings: Findings) -> None:
    good = replace(findings, found=findings.of(Verdict.PASSED, Verdict.CAUGHT, Verdict.NOT_DECLARED))
    assert '<p class="sum good">' in html_page(good)
    for verdict in (Verdict.FAILED, Verdict.ERROR, Verdict.NOT_JUDGED, Verdict.NOT_CAUGHT, Verdict.VOID):
        bad = replace(good, found=[*good.found, *findings.of(verdict)])
        assert '<p class="sum bad">' in html_page(bad)
