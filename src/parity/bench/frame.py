"""The common parts of all benchmarks: figures with limits, alternating measurements, conditions and tables."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured value in ``unit``. ``at_most`` or ``at_least`` is the bar, if there is one; ``note`` has details,
    such as the values of a ratio."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def bar(self) -> str:
        """The bar as text; empty without one."""
        if self.at_most is not None:
            return f"≤ {number(self.at_most)}"
        return "" if self.at_least is None else f"≥ {number(self.at_least)}"

    @property
    def met(self) -> bool | None:
        """Whether the value meets the bar; ``None`` without one."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` (0 to 1) of ``values`` do not exceed. Raises ``ValueError`` without any."""
    if not values:
        raise ValueError("no values: nothing was measured")
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share} is not between 0 and 1")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def number(value: float) -> str:
    """A number with about three significant digits and without an exponent."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 2 if abs(value) >= 1 else 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{digits}f}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table with aligned columns."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return [line(headings), line(["-" * width for width in widths]), *map(line, rows)]


def figure_table(figures: Sequence[Figure]) -> list[str]:
    """The lines of a Markdown table: each figure with its bar and whether it is met."""
    words = {True: "met", False: "MISSED", None: ""}
    rows = [[f.name, f"{number(f.value)} {f.unit}".rstrip(), f.bar, words[f.met], f.note] for f in figures]
    return table(["measure", "value", "bar", "", "note"], rows)


async def in_turn(rounds: int, works: Sequence[Callable[[int], Awaitable[float]]]) -> list[list[float]]:
    """The results of each of ``works``, by round. Each is called with the number of the round.

    Every round runs all of them, and starts with another one, so that other load on the machine affects all alike.
    """
    found: list[list[float]] = [[] for _ in works]
    for turn in range(rounds):
        for place in range(len(works)):
            index = (place + turn) % len(works)
            found[index].append(await works[index](turn))
    return found


def conditions(packages: Sequence[str], settings: Mapping[str, object]) -> list[str]:
    """The lines above every result: when, on what, with which versions and settings."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores ({_processor()}), load before {load}",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {versions}",
        ", ".join(f"{name} {value}" for name, value in settings.items()),
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
