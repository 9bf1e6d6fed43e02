"""Findings as a file, as a collection, and compared."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from parity.report.compare import compare_lines
from parity.report.findings import Collected, Finding, Findings, Verdict, counted


def test_what_is_written_is_what_is_read(findings: Findings, tmp_path: Path) -> None:
    path = tmp_path / "new" / "last.json"
    findings.write(path)
    assert Findings.read(path) == findings
    assert [file.name for file in path.parent.iterdir()] == ["last.json"]


def test_the_newest_phase_of_a_test_speaks_for_it() -> None:
    collected = Collected()
    one = Finding("test_x", "B", "x", False, Verdict.PASSED)
    collected.add("a::test_x", {**asdict(one), "verdict": ""})
    assert collected.verdicts() == []
    collected.add("a::test_x", asdict(one))
    collected.add("a::test_x", asdict(replace(one, verdict=Verdict.ERROR)))
    assert collected.verdicts() == [Verdict.ERROR]


def test_a_proof_stands_after_its_check() -> None:
    collected = Collected()
    proof = Finding("test_x", "B", "x", True, Verdict.CAUGHT)
    for number, one in enumerate((proof, replace(proof, proof=False), replace(proof, kind="A", name="test_y"))):
        collected.add(str(number), asdict(one))
    assert [(one.name, one.proof) for one in collected.in_order()] == [
        ("test_y", True),
        ("test_x", False),
        ("test_x", True),
    ]


def test_verdicts_are_counted_in_one_order() -> None:
    assert counted([Verdict.VOID, Verdict.PASSED, Verdict.PASSED]) == "2 passed, 1 void"
    assert counted([]) == ""


def test_two_targets_differ_where_a_verdict_differs_or_is_missing(findings: Findings) -> None:
    live = replace(findings, target="staging", found=findings.of(Verdict.PASSED)[:1])
    lines, differ = compare_lines(findings, live)
    assert differ
    assert any(line.startswith("test_wrong") and "failed" in line and "not run" in line for line in lines)
    assert not any(line.startswith("test_fine") and "differs" in line for line in lines)
    assert compare_lines(live, live)[1] is False
