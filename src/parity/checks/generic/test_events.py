"""Server-sent events: an answer that goes on, of which the page must see each piece when it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parity.checks import check
from parity.checks.generic.support import not_declared
from parity.checks.generic.test_jobs import whole_job
from parity.checks.person import Person
from parity.checks.stack import EVENTS, Stack


@check(
    "E",
    "An event stream reaches the page as it is sent: the edge does not compress it",
    unproven="the app itself opts out of compression; the tests of foreign backends have one that forgets it",
    needs=("job", "ffmpeg"),
    rests_on=("test_someone_new_can_come",),
    alone=True,
    deadline_s=300,
)
async def test_events_arrive(person: Person, stack: Stack, video: bytes) -> None:
    """Send Content-Encoding: none with an event stream, or set compress = false in http_service.http_options of
    fly.toml."""
    before = {entry["id"] for entry in await stack.admin("GET", "/fly/requests")}
    await whole_job(person, video)
    asked = [entry for entry in await stack.admin("GET", "/fly/requests") if entry["id"] not in before]
    streams = [entry for entry in asked if EVENTS in header(entry, "content-type")]
    if not streams:
        not_declared("no answer to the contract's job is an event stream")
    held = [entry for entry in streams if header(entry, "content-encoding") not in ("", "none", "identity")]
    assert not held, (
        f"the events of {held[0]['target']} are held back by the edge: Fly's proxy compresses the answer"
        f" ({header(held[0], 'content-encoding')}), and sends on only what fills a block of it, so that the page sees"
        " them late or at the end"
    )


def header(entry: dict[str, Any], name: str) -> str:
    """A header of an answer of the edge's log; empty where there is none."""
    found: Iterator[str] = (value for one, value in entry["response_headers"] if one.lower() == name)
    return next(found, "").lower()
