"""One run with every verdict, and an identity."""

from __future__ import annotations

import pytest

from parity.report.findings import Finding, Findings, Verdict
from parity.report.identity import Identity

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def findings() -> Findings:
    """A run with every verdict."""
    found = [
        Finding("test_fine", "A", "It holds", False, Verdict.PASSED, seconds=1.0, broken="Env(x)"),
        Finding("test_fine", "A", "It holds", True, Verdict.CAUGHT, "as it must", seconds=2.0, broken="Env(x)"),
        Finding(
            "test_wrong", "B", "It breaks", False, Verdict.FAILED, "<b>2 of 3</b> are lost\nmore", "look there", 2.0,
            evidence=".parity/failures/test_wrong", topic="durability",
        ),
        Finding("test_wrong", "B", "It breaks", True, Verdict.VOID, "the check as it is: failed"),
        Finding("test_gone", "C", "No answer", False, Verdict.ERROR, "StackError: refused"),
        Finding("test_blind", "E", "It sees nothing", True, Verdict.NOT_CAUGHT, "it passes although it is broken"),
        Finding("test_rests", "B", "It rests", False, Verdict.NOT_JUDGED, "it rests on test_wrong, which is failed"),
        Finding("test_edit", "B", "Edits", False, Verdict.NOT_DECLARED, "the contract does not say: edit"),
        Finding("test_more_edits", "B", "More edits", False, Verdict.NOT_DECLARED, "the contract does not say: edit"),
        Finding("test_image", "A", "The image", False, Verdict.NOT_SHOWN, "the process stack runs the sources"),
        Finding("test_host", "J", "The host", False, Verdict.PASSED, unproven="it is about the host"),
    ]  # fmt: skip
    known = [*{one.name: None for one in found}, "test_killed"]
    return Findings("local", "process", "https://localhost:8443", 1.8e9, 1.8e9 + 61, 1, known, found)


@pytest.fixture
def identity() -> Identity:
    hashes = {"parity.toml": "sha256:1", "deploy/fly.staging.toml": "sha256:2", "src/parity/checks": "sha256:3"}
    return Identity("demo", DIGEST, "c0ffee", False, hashes)
