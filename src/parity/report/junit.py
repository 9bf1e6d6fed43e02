"""Results as JUnit XML, the form that CI systems read."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from parity.report.results import Outcome, Result, Run
from parity.report.terminal import proof_lines

# XML 1.0 has no place for these characters, and a reason may quote bytes of a response.
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(run: Run) -> str:
    """One suite named after the target; an unnoticed broken variant is a test case of its own."""
    cases = [_case(run, result) for result in run.results]
    cases += [_proof_case(run, result) for result in run.results if result.proof is not None]
    suite = ElementTree.Element(
        "testsuite",
        name=f"parity.{run.target}",
        timestamp=run.started_at.isoformat(timespec="seconds"),
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
        time=f"{sum(result.seconds for result in run.results):.3f}",
    )
    suite.extend(cases)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _text(value: str) -> str:
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", value)


def _case(run: Run, result: Result) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", classname=f"parity.{run.target}", name=result.id, time=f"{result.seconds:.3f}"
    )
    tag = {Outcome.FAILED: "failure", Outcome.ERROR: "error", Outcome.SKIPPED: "skipped"}.get(result.outcome)
    if tag:
        message = _text(result.reasons[0] if result.reasons else result.title)
        ElementTree.SubElement(case, tag, message=message).text = _text("\n".join(result.reasons))
    return case


def _proof_case(run: Run, result: Result) -> ElementTree.Element:
    proof = result.proof
    assert proof is not None
    name = f"{result.id} catches: {proof.variant}"
    case = ElementTree.Element("testcase", classname=f"parity.{run.target}.broken", name=_text(name))
    case.set("time", f"{proof.seconds:.3f}")
    if not proof.caught:
        tag = "error" if proof.caught is None else "failure"
        ElementTree.SubElement(case, tag, message=_text(proof_lines(proof)[0].strip()))
    return case
