"""What is true of all checks together, from their marks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from parity.checks.mark import CLASSES

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def page() -> str:
    """The page of the docs as the marks are now."""
    code = (
        "from parity.checks import catalogue, cli; from parity.config.project import Project;"
        "print(catalogue.markdown(cli.catalogue(Project.load())), end='')"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PARITY_", "PYTEST_"))}
    environ |= {"PYTHONPATH": str(ROOT / "src"), "PARITY_ROOT": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_docs_list_the_checks_that_there_are(page: str) -> None:
    assert (ROOT / "docs/checks-list.md").read_text("utf-8") == page, "run: python -m parity.checks.catalogue"


def test_every_check_has_a_name_of_its_own(page: str) -> None:
    names = Counter(line.split("`")[1] for line in page.splitlines() if line.startswith("| `test_"))
    assert [name for name, times in names.items() if times > 1] == []
    assert len(names) >= 60


def test_every_class_of_incidents_has_a_check(page: str) -> None:
    assert [kind for kind in CLASSES if f"\n## {kind}: " not in page] == []


def test_the_harness_knows_nothing_of_this_app() -> None:
    """No route, header, field or name of it stands in the harness."""
    words = ("reel", "/api/", "X-User-ID", "X-Profile-ID", "overlay")
    found = []
    for file in sorted((ROOT / "src/parity/checks").rglob("*.py")):
        text = file.read_text("utf-8")
        found += [f"{file.relative_to(ROOT)}: {word}" for word in words if word.lower() in text.lower()]
    assert found == []
