"""The results of a run of checks, as data. The other modules of this package render, compare and judge them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Verdict(StrEnum):
    """The result of a check or of its proof (parity.checks.verdict says when each applies)."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    NOT_DECLARED = "not declared"
    NOT_JUDGED = "not judged"
    NOT_SHOWN = "not shown"
    CAUGHT = "caught"
    NOT_CAUGHT = "not caught"
    VOID = "void"


# Verdicts that mean a fault of the app, a fault of a check, and that the check gave no answer.
AGAINST_THE_APP = frozenset({Verdict.FAILED})
AGAINST_THE_CHECKS = frozenset({Verdict.NOT_CAUGHT})
WITHOUT_AN_ANSWER = frozenset({Verdict.ERROR, Verdict.VOID, Verdict.NOT_JUDGED})

NEXT_STEPS = {
    Verdict.NOT_CAUGHT: "look whether the broken variant changes anything in this app; if it does, make the check's"
    " assertion stricter",
    Verdict.ERROR: "this says nothing about the app: look at the contract if the reason names it, otherwise whether"
    " the stack is healthy (parity status); then look at the evidence, and run the check again",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check or of its proof.

    ``kind`` is the letter of its class of incidents, ``topic`` the name of the class. ``evidence`` is the folder of the
    evidence; empty without one.
    """

    name: str
    kind: str
    title: str
    proof: bool
    verdict: Verdict
    reason: str = ""
    to_do: str = ""
    seconds: float = 0.0
    broken: str = ""
    unproven: str = ""
    evidence: str = ""
    topic: str = ""

    @property
    def next_step(self) -> str:
        """What the reader should do. Empty for a pass, and for a result that only follows from another one."""
        if self.verdict is Verdict.ERROR and self.proof:
            return (
                "the proof shows nothing: look at the evidence, then correct the broken variant or its reason (because)"
            )
        return self.to_do if self.verdict is Verdict.FAILED else NEXT_STEPS.get(self.verdict, "")

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Finding:
        """From the plain values that ``asdict`` gives."""
        return cls(**{**entry, "verdict": Verdict(entry["verdict"])})


@dataclass(frozen=True)
class Findings:
    """A whole run. Times in seconds since the epoch; ``known`` names every check of the run, ended or not."""

    target: str
    driver: str
    api: str
    began: float
    ended: float
    exit_code: int
    known: Sequence[str]
    found: Sequence[Finding]

    def of(self, *verdicts: Verdict) -> list[Finding]:
        return [one for one in self.found if one.verdict in verdicts]

    def write(self, path: Path) -> None:
        """As JSON; a reader never sees half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", "utf-8")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> Findings:
        data = json.loads(path.read_text("utf-8"))
        return cls(**{**data, "found": [Finding.of(entry) for entry in data["found"]]})


@dataclass
class Collected:
    """Findings by the tests' ids, while the run goes on; the newest of a test's phases speaks for all of them."""

    began: float = field(default_factory=time.time)
    found: dict[str, Finding] = field(default_factory=dict)

    def add(self, nodeid: str, entry: Mapping[str, Any]) -> None:
        if entry["verdict"]:
            self.found[nodeid] = Finding.of(entry)

    def verdicts(self) -> list[Verdict]:
        return [one.verdict for one in self.found.values()]

    def in_order(self) -> list[Finding]:
        """By class and name, a proof after its check."""
        return sorted(self.found.values(), key=lambda one: (one.kind, one.name, one.proof))


def counted(verdicts: Iterable[Verdict]) -> str:
    """Such as ``40 passed, 1 failed``; empty for none."""
    listed = list(verdicts)
    return ", ".join(f"{number} {verdict}" for verdict in Verdict if (number := listed.count(verdict)))
