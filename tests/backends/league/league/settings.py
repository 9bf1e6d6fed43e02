"""What the environment says. ``MISTAKE``, a line that the tests change, names one thing to do wrong; empty: none."""

from __future__ import annotations

import os

MISTAKES = (
    "bucket_needed_for_writes",
    "commit_later",
    "database_errors_unhandled",
    "database_without_timeout",
    "errors_without_cors",
    "events_compressed",
    "film_early",
    "film_refusal_swallowed",
    "films_shared",
    "health_needs_bucket",
    "health_needs_database",
    "http_behind_proxy",
    "job_abandoned",
    "key_prefix_fixed",
    "lease_without_end",
    "migration_needs_rows",
    "pool_unchecked",
    "read_modify_write",
    "table_done_anyway",
)
MISTAKE = ""
if MISTAKE and MISTAKE not in MISTAKES:
    raise SystemExit(f"MISTAKE={MISTAKE}: expected one of {', '.join(MISTAKES)}")

PAGE_ORIGIN = os.environ["PAGE_ORIGIN"]
PREFIX = "production" if MISTAKE == "key_prefix_fixed" else os.environ["APP_ENV"]
