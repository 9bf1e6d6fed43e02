"""Runs one measurement in its own process, as a backend runs, and prints the figures as JSON."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import uvloop

from parity.bench.frame import Figure
from parity.bench.replication_load import lag, throughput
from parity.bench.replication_machine import Place, Sizes
from parity.bench.replication_open import idle
from parity.bench.replication_prices import prices
from parity.bench.replication_writes import long_log, small_write

MEASURES: Mapping[str, Callable[[Place], Awaitable[list[Figure]]]] = {
    "write": small_write,
    "log": long_log,
    "load": throughput,
    "idle": idle,
    "lag": lag,
    "cost": prices,
}


def main(arguments: list[str]) -> None:
    """``NAME ADMIN_URL SIZES``, the sizes as JSON."""
    name, admin_url, sizes = arguments
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="parity-bench-") as folder:
        figures = uvloop.run(_measure(name, Place(Path(folder), admin_url, Sizes(**json.loads(sizes)))))
    sys.stdout.write(json.dumps([asdict(figure) for figure in figures]))


async def _measure(name: str, place: Place) -> list[Figure]:
    return await MEASURES[name](place)


if __name__ == "__main__":
    main(sys.argv[1:])
