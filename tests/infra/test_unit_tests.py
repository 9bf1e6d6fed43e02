"""`scripts/unit-tests`: a test that failed beside others gets a second run, alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts.summary import Summary, summarise

ROOT = Path(__file__).parents[2]
# Fails the first time and passes the second time.
UNSTEADY = """
from pathlib import Path

def test_unsteady():
    seen = Path(__file__).with_name("seen")
    first = not seen.exists()
    seen.touch()
    assert not first, "the first time"
"""
BROKEN = "def test_broken_{0}():\n    assert False\n"


def run(folder: Path, tests: str) -> tuple[int, Summary]:
    """The exit code, and what the summary of `make test` makes of the reports."""
    (folder / "test_it.py").write_text(tests)
    out = folder / "out"
    ran = subprocess.run(
        [ROOT / "scripts/unit-tests", out],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "VENV": str(Path(sys.executable).parents[1]),
            "PYTEST_ARGS": f"-n 0 {folder / 'test_it.py'}",  # workers are not needed for so few tests
        },
        stdout=subprocess.DEVNULL,
        timeout=600,
    )
    step = ("unit and integration tests", "failed" if ran.returncode else "passed", "")
    return ran.returncode, summarise([step], [("tests", [out / "tests.xml", out / "again.xml"])])


def test_what_passes_alone_does_not_fail_the_run_and_is_named(tmp_path: Path) -> None:
    code, summary = run(tmp_path, UNSTEADY + "\ndef test_steady():\n    pass\n")
    assert (code, summary.closing_line) == (0, "2 passed, 0 failed, 0 skipped")
    assert "failed, then passed when run alone" in "\n".join(summary.lines)
    assert "test_it::test_unsteady: AssertionError: the first time" in "\n".join(summary.lines)


def test_what_fails_alone_as_well_fails_the_run(tmp_path: Path) -> None:
    code, summary = run(tmp_path, UNSTEADY + BROKEN.format(1))
    assert (code, summary.closing_line) == (1, "1 passed, 1 failed, 0 skipped")


def test_many_failures_are_not_run_again(tmp_path: Path) -> None:
    code, summary = run(tmp_path, UNSTEADY + "".join(BROKEN.format(number) for number in range(5)))
    assert (code, summary.closing_line) == (1, "0 passed, 6 failed, 0 skipped")


def test_a_run_that_pytest_refuses_is_a_failure(tmp_path: Path) -> None:
    code, summary = run(tmp_path, "import no_such_module")
    assert code
    assert summary.counts["failed"] == 1
