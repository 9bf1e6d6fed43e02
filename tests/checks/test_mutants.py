"""The mutants of this backend: each can be made, each has a name of its own, and the classes are covered."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mutants import MUTANTS
from parity.checks.variants import Mutant, Patch

ROOT = Path(__file__).parents[2]
PATCHED = [mutant for mutant in MUTANTS if isinstance(mutant.change, Patch)]


@pytest.mark.parametrize("mutant", PATCHED, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_the_source_into_other_valid_python(mutant: Mutant) -> None:
    assert isinstance(mutant.change, Patch)
    text = (ROOT / "src/backend" / mutant.change.file).read_text("utf-8")
    changed = mutant.change.applied(text)
    compile(changed, mutant.change.file, "exec")
    assert changed != text


def test_there_are_at_least_45_and_no_two_have_one_name() -> None:
    assert len(MUTANTS) >= 45
    assert [name for name, times in Counter(mutant.name for mutant in MUTANTS).items() if times > 1] == []


def test_every_mutant_names_a_check_that_there_is() -> None:
    page = (ROOT / "docs/checks-list.md").read_text("utf-8")
    assert [mutant.name for mutant in MUTANTS if f"`{mutant.caught_by}`" not in page] == []
