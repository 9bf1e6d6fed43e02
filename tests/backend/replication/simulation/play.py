"""One seed, played in a process of a pool.

Apart from ``__main__``: a spawned process imports what it is told to run by its module's name, and a package's
``__main__`` it never imports.
"""

from __future__ import annotations

import logging

from tests.backend.replication.simulation.scenario import Scenario


def play(seed: int) -> tuple[int, int, int, list[str], list[str]]:
    """The seed, how many writes were acknowledged, how many requests refused, violations, and the schedule."""
    logging.disable(logging.CRITICAL)
    ledger = Scenario(seed).run()
    return seed, len(ledger.acknowledged), ledger.refused, ledger.violations, ledger.schedule
