"""The page says what the tables say."""

from __future__ import annotations

import re
from pathlib import Path

from parity.r2.docs import pages, where
from parity.r2.gaps import GAPS
from parity.r2.operations.table import HANDLERS
from parity.r2.routes import operations
from parity.r2.rules import RULES
from parity.r2.sources import PAGES

ROOT = Path(__file__).parents[3]


def test_the_pages_are_what_the_tables_say() -> None:
    for path, text in pages(ROOT).items():
        assert path.read_text("utf-8") == text, f"{path}: run `python -m parity.r2 docs`"


def test_every_rule_is_applied_somewhere() -> None:
    assert [number for number, modules in where().items() if not modules] == []


def test_every_page_of_the_documentation_says_what_was_taken_from_it() -> None:
    assert all(PAGES.values())
    numbers = {int(number) for taken in PAGES.values() for number in re.findall(r"[( ,](\d\d?)[),–]", taken)}
    assert numbers <= {rule.number for rule in RULES}


def test_every_rule_names_a_source_with_a_date() -> None:
    assert [rule.number for rule in RULES if not re.search(r"20\d\d", rule.source)] == []


def test_every_gap_has_a_date() -> None:
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", gap.since) for gap in GAPS)


def test_every_operation_that_is_served_has_a_handler_and_the_other_way_round() -> None:
    assert {operation.name for operation in operations() if operation.served} == HANDLERS.keys()
