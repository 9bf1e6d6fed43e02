"""One run with every outcome, and an identity."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from parity.report.identity import Identity
from parity.report.results import Outcome, Proof, Result, Run

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def run() -> Run:
    results = [
        Result("fine", "It holds", "A", Outcome.PASSED, (), 1.0, Proof("bad env", True, ("caught it",), 2.0)),
        Result("broken", "It breaks", "B", Outcome.FAILED, ("<b>wrong</b> \x00 & odd",), 2.0, None, Path("f/broken")),
        Result("unmade", "No observation", "C", Outcome.ERROR, ("refused",), 0.5),
        Result("blind", "It sees nothing", "E", Outcome.PASSED, (), 1.0, Proof("bad cors", False, (), 3.0)),
        Result("elsewhere", "Needs the image", "A", Outcome.SKIPPED, ("needs Docker",)),
    ]
    known = [result.id for result in results] + ["unasked"]
    return Run("local", "docker", datetime(2026, 11, 24, tzinfo=UTC), results, known, {"python": "3.11.2"})


@pytest.fixture
def identity() -> Identity:
    hashes = {"parity.toml": "sha256:1", "deploy/fly.staging.toml": "sha256:2", "src/parity/checks": "sha256:3"}
    return Identity("demo", DIGEST, "c0ffee", False, hashes)
