"""What the environment says. ``MISTAKE``, a line that the tests change, names one thing to do wrong; empty: none."""

from __future__ import annotations

import os

MISTAKES = (
    "answered_before_stored",
    "any_film_for_anyone",
    "anyone_deletes",
    "cors_only_on_success",
    "digest_checksum",
    "digest_done_early",
    "digest_on_http",
    "digest_stage_forgotten",
    "error_as_new",
    "feed_unverified",
    "first_page_only",
    "health_needs_bucket",
    "if_match_ignored",
    "key_per_process",
    "limiter_outside_cors",
    "loop_blocked",
    "mail_given_up",
    "mail_without_timeout",
    "notes_cached",
    "parts_unchecked",
    "poster_unchecked",
    "signature_unchecked",
    "sigterm_ignored",
    "size_unsigned",
    "stage_forgotten",
)
MISTAKE = ""
if MISTAKE and MISTAKE not in MISTAKES:
    raise SystemExit(f"MISTAKE={MISTAKE}: expected one of {', '.join(MISTAKES)}")

ORIGINS = os.environ["ALLOWED_ORIGINS"].split(",")
# Signs tokens. A key of its own for each process refuses the tokens of every other one.
JWT_SECRET = os.urandom(32) if MISTAKE == "key_per_process" else os.environ["JWT_SECRET"].encode()
BUCKET = os.environ["S3_BUCKET_NAME"]
STAGE = "" if MISTAKE == "stage_forgotten" else f"{os.environ['STAGE']}/"
MAIL_URL = os.environ["MAIL_API_URL"]
