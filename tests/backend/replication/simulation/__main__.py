"""``make simulate SEEDS=10000 FIRST=0``: play many seeds on all cores; print violations with their schedules."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time

from tests.backend.replication.simulation.play import play


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    started, acknowledged, refused, broken = time.monotonic(), 0, 0, []
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        seeds = range(given.first, given.first + given.seeds)
        for seed, acks, refusals, violations, schedule in pool.imap_unordered(play, seeds, chunksize=20):
            acknowledged, refused = acknowledged + acks, refused + refusals
            if violations:
                broken.append(seed)
                sys.stdout.write("\n".join([f"seed {seed}:", *schedule, *violations, ""]))
    took = time.monotonic() - started
    sys.stdout.write(
        f"{given.seeds} seeds from {given.first} in {took:.0f} s: {acknowledged} writes acknowledged, "
        f"{refused} requests refused, {len(broken)} seeds with violations {broken[:20]}\n"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
