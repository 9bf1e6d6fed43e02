"""What the environment says. ``MISTAKE``, a line that the tests change, names one thing to do wrong; empty: none."""

from __future__ import annotations

import os

MISTAKES = (
    "acknowledged_early",
    "conditions_forgotten",
    "cookie_lax",
    "cors_inside",
    "dirty_at_stop",
    "error_as_new",
    "film_unchecked",
    "health_needs_bucket",
    "http_behind_proxy",
    "job_in_memory",
    "key_prefix_fixed",
    "loop_blocked",
    "model_at_start",
    "report_in_the_loop",
    "socket_trusts_id",
    "stale_read_modify_write",
    "uploads_one_by_one",
)
MISTAKE = ""
if MISTAKE and MISTAKE not in MISTAKES:
    raise SystemExit(f"MISTAKE={MISTAKE}: expected one of {', '.join(MISTAKES)}")

PAGE_ORIGIN = os.environ["PAGE_ORIGIN"]
COOKIE_SECRET = os.environ["COOKIE_SECRET"].encode()
BUCKET = os.environ["FILMS_BUCKET"]
PREFIX = "dev" if MISTAKE == "key_prefix_fixed" else os.environ["APP_ENV"]
