"""The arithmetic and the tables of the benchmarks."""

from __future__ import annotations

import asyncio

import pytest

from parity.bench.frame import Figure, conditions, figure_table, in_turn, number, percentile, table


def test_a_percentile_is_one_of_the_values() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, share) for share in (0, 0.2, 0.5, 0.81, 1)] == [1, 1, 3, 5, 5]


def test_the_middle_of_two_is_the_lower_one() -> None:
    assert percentile([1.0, 9.0], 0.5) == 1


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 1.5), ([1.0], -0.1)])
def test_a_percentile_of_nothing_or_beyond_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match=r"no values|between"):
        percentile(values, share)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3, "3"),
        (1.15, "1.15"),
        (12345.6, "12,346"),
        (0.03612, "0.0361"),
        (50_000, "50,000"),
        (-0.5, "-0.500"),
    ],
)
def test_numbers_are_for_people(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("figure", "bar", "met"),
    [
        (Figure("a", 1.15, "×", at_most=1.15), "≤ 1.15", True),
        (Figure("a", 1.16, "×", at_most=1.15), "≤ 1.15", False),
        (Figure("a", 20, "/s", at_least=20), "≥ 20", True),
        (Figure("a", 19.9, "/s", at_least=20), "≥ 20", False),
        (Figure("a", 0, "", at_most=0), "≤ 0", True),
        (Figure("a", 7, "$"), "", None),
    ],
)
def test_a_bar_includes_its_own_value(figure: Figure, bar: str, met: bool | None) -> None:
    assert (figure.bar, figure.met) == (bar, met)


def test_a_table_keeps_its_columns_under_each_other() -> None:
    assert table(["a", "long"], [["wide cell", "1"], ["x", "2"]]) == [
        "| a         | long |",
        "| --------- | ---- |",
        "| wide cell | 1    |",
        "| x         | 2    |",
    ]


def test_a_missed_bar_stands_out() -> None:
    lines = figure_table([Figure("slow", 2, "×", at_most=1), Figure("price", 4.5, "$", note="list price")])
    assert [line.split("|")[4].strip() for line in lines[2:]] == ["MISSED", ""]
    assert "4.50 $" in lines[3]
    assert "list price" in lines[3]


async def test_each_round_begins_with_another_work() -> None:
    order: list[tuple[str, int]] = []

    async def work(name: str, turn: int) -> float:
        await asyncio.sleep(0)
        order.append((name, turn))
        return float(turn)

    found = await in_turn(2, [lambda turn: work("a", turn), lambda turn: work("b", turn)])
    assert found == [[0, 1], [0, 1]]
    assert order == [("a", 0), ("b", 0), ("b", 1), ("a", 1)]


def test_the_conditions_name_cores_versions_and_settings() -> None:
    text = "\n".join(conditions(["click"], {"write_window": "0.3-1.4"}))
    for part in ("cores", "Python 3.11", "click 8", "write_window 0.3-1.4"):
        assert part in text
