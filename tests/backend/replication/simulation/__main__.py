"""``make simulate SEEDS=10000 FIRST=0 UPGRADE=1``: play seeds on all cores; print violations with their schedules."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from functools import partial

from tests.backend.replication.simulation.play import play


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--upgrade", action="store_true", help="Machines of two releases at once")
    given = parser.parse_args()
    started, counts, broken = time.monotonic(), Counter[str](), list[int]()
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        seeds = range(given.first, given.first + given.seeds)
        for played in pool.imap_unordered(partial(play, upgrade=given.upgrade), seeds, chunksize=20):
            counts += played.counts
            if played.violations:
                broken.append(played.seed)
                sys.stdout.write("\n".join([f"seed {played.seed}:", *played.schedule, *played.violations, ""]))
    took = time.monotonic() - started
    sys.stdout.write(
        f"{given.seeds} seeds from {given.first} in {took:.0f} s: {counts['acknowledged']} writes acknowledged, "
        f"{counts['refused']} requests refused, {counts['stopped late']} of them to writers that had slept past the "
        f"retention; {counts['merges']} merges, {counts['snapshots']} snapshots, {counts['deletions']} files deleted; "
        f"{len(broken)} seeds with violations {broken[:20]}\n"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
