"""Requests and a job write at the same time: R2 never gets concurrent writes to one object, and no request stalls."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from broken import one_object_for_all
from journey import SMALL, SMALL_CUTS, SMALL_SECONDS, cut, extract, until_over, upload
from parity.checks import Wrap, check
from parity.checks.media import Media
from parity.checks.person import Attempt, Person, missing
from parity.checks.stack import Stack

# How many requests a page may send at once, and how many such bursts the check sends.
AT_ONCE, BURSTS = 30, 2
# Each 429 of R2 costs its Retry-After of 5 s. In the incident behind this check, people waited a minute. A busy host
# may take several seconds for so many requests at once, so what takes less than half a minute is no stall.
STALL_S = 30.0
# R2's documented limit of one write a second for each key, and a latency at which a burst of writes queues.
STRICT = {"write_window": "strict", "latency": "realistic"}


@check(
    "H",
    "A burst of writes during a job: all last, none stalls, and no object has two writers at once",
    broken=Wrap(one_object_for_all.wrap),
    because="several writers of one object at once",
    needs=("gpu", "ffmpeg"),
    alone=True,
    deadline_s=270,
)
async def test_burst_beside_job(person: Person, stack: Stack, media: Media) -> None:
    """Let one writer group the concurrent writes of a profile into one upload; hold no lock during a request to R2."""
    game = await upload(person, await media.file(SMALL_SECONDS, SMALL))
    clip = (await cut(person, game["id"], SMALL_CUTS[:1]))[0]
    async with stack.r2_behaviour(**STRICT):
        job = await extract(person, clip)
        timed: list[tuple[Attempt, float]] = []
        for _ in range(BURSTS):
            timed += await asyncio.gather(*(_timed(person) for _ in range(AT_ONCE)))
        ended = (await until_over(person, f"/api/extractions/{job}"))["status"]
        seen = await stack.admin("GET", f"/r2/requests?limit=20000&status=429&prefix={person.owns}")
        crowded = Counter(request["key"] for request in seen["requests"])
    writes = [write for write, _ in timed]
    wrong = [
        f"R2 answered 429 {times} × for {key}: several writers of one object at once"
        for key, times in sorted(crowded.items())
    ]
    if refused := [write.answer for write in writes if not write.acknowledged]:
        wrong.append(f"{len(refused)} of {len(writes)} writes were refused: {refused[0]}")
    slowest = max(seconds for _, seconds in timed)
    if slowest > STALL_S:
        wrong.append(f"a write took {slowest:.1f} s, but {STALL_S:g} s at most are expected")
    if ended != "complete":
        wrong.append(f"the job during the burst ended as {ended}, not complete")
    if lost := missing(writes, await person.reads()):
        wrong.append(f"{len(lost)} acknowledged writes are not shown")
    assert not wrong, "\n".join(wrong)


async def _timed(person: Person) -> tuple[Attempt, float]:
    began = time.monotonic()
    return await person.attempt(), time.monotonic() - began
