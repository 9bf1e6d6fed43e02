"""The page says what the tables say."""

from __future__ import annotations

import re
from pathlib import Path

from parity.r2.docs import SECTIONS, page_path, render
from parity.r2.gaps import GAPS
from parity.r2.operations.table import HANDLERS
from parity.r2.routes import operations
from parity.r2.rules import RULES

ROOT = Path(__file__).parents[3]


def test_the_page_holds_every_table_as_it_is() -> None:
    page = page_path(ROOT).read_text("utf-8")
    assert sorted(re.findall(r"<!-- begin (\w+) -->", page)) == sorted(SECTIONS)
    assert render(page) == page, "run `python -m parity.r2 docs`"


def test_every_rule_names_a_source_with_a_date() -> None:
    assert [rule.number for rule in RULES if not re.search(r"20\d\d", rule.source)] == []


def test_every_gap_has_a_date() -> None:
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", gap.since) for gap in GAPS)


def test_every_operation_that_is_served_has_a_handler_and_the_other_way_round() -> None:
    assert {operation.name for operation in operations() if operation.served} == HANDLERS.keys()
