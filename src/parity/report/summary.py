"""What a run collects of its checks, and the lines that end it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from parity.checks.verdict import Verdict


@dataclass
class Collected:
    """Results by the tests' ids, in the order in which they ended."""

    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, nodeid: str, entry: dict[str, Any]) -> None:
        """The newest of a test's phases says what all of them say together."""
        if entry["verdict"]:
            self.results[nodeid] = entry

    def verdicts(self) -> list[Verdict]:
        return [Verdict(entry["verdict"]) for entry in self.results.values()]

    def lines(self) -> list[str]:
        """The summary for a terminal."""
        found = []
        for entry in sorted(self.results.values(), key=lambda one: (one["kind"], one["name"], one["proof"])):
            what = f"proof of {entry['name']}" if entry["proof"] else entry["title"]
            found.append(f"{entry['verdict']:<12} {entry['kind']}  {what} ({entry['seconds']:.1f} s)")
            if entry["verdict"] not in ("passed", "caught") and entry["reason"]:
                found.append(f"{'':<15} {entry['reason'].splitlines()[0][:200]}")
        counts = {verdict: self.verdicts().count(verdict) for verdict in Verdict}
        told = ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)
        return [*found, f"checks: {told}"] if found else []
