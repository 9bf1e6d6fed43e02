"""One seed, played in a process of a pool.

Apart from ``__main__``: a spawned process imports what it is told to run by its module's name, and a package's
``__main__`` it never imports.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from tests.backend.replication.simulation.scenario import Scenario


@dataclass(frozen=True)
class Played:
    seed: int
    counts: Counter[str]
    violations: list[str]
    schedule: list[str]


def play(seed: int, *, upgrade: bool = False) -> Played:
    logging.disable(logging.CRITICAL)
    ledger = Scenario(seed, upgrade=upgrade).run()
    return Played(seed, ledger.counts, ledger.violations, ledger.schedule)
