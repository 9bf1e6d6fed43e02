"""Many writes at once from requests and a job: R2 never sees two writes to one object, and nobody waits for long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from parity.checks.broken import one_object_for_all
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Need, Wrap
from parity.checks.product.caller import Caller, new_profile, user_prefix
from parity.checks.product.exports import RENDER_S, SMALL_CUTS, SMALL_SECONDS
from parity.checks.product.journey import cut, until_over, upload
from parity.checks.product.writes import Listed, Write, judge_answers, judge_shown, listed, new_name, write

MACHINE = "the Machine"
# What a page and its uploads may fire at once, and how many such bursts.
AT_ONCE, BURSTS = 30, 2
# A crowded object costs R2's Retry-After of 5 s a time; waits of a minute were what people saw.
STALL_S = 10.0


@dataclass(frozen=True)
class BurstObservation:
    """``crowded``: keys for which R2 answered 429, with how often; ``job``: how the job ended that ran beside."""

    writes: Sequence[Write]
    crowded: Mapping[str, int]
    job: str
    shown: Listed


async def observe(tools: Tools) -> BurstObservation:
    caller = await new_profile(tools)
    game = await upload(caller, await tools.media.video(SMALL_SECONDS, "640x360"))
    clip = (await cut(caller, game["id"], SMALL_CUTS[:1]))[0]
    async with strict_writes(tools):
        job = (await caller.call("POST", f"/api/clips/{clip}/extract"))["id"]
        writes: list[Write] = []
        for _ in range(BURSTS):
            writes += await asyncio.gather(*(write(caller, MACHINE, new_name("burst")) for _ in range(AT_ONCE)))
        ended = await _end_of(caller, job)
        crowded = await crowded_keys(tools)
    return BurstObservation(writes, crowded, ended, await listed(caller, MACHINE))


async def _end_of(caller: Caller, job: str) -> str:
    return str((await until_over(caller, f"/api/extractions/{job}", RENDER_S))["status"])


@asynccontextmanager
async def strict_writes(tools: Tools) -> AsyncIterator[None]:
    """R2 as it is documented: one write a second to a key, and with a latency that lets a burst pile up."""
    before = await tools.admin.call("GET", "/r2/behaviour")
    await tools.admin.call("POST", "/r2/behaviour", {"write_window": "strict", "latency": "realistic"})
    try:
        yield
    finally:
        old = {name: before[name] for name in ("write_window", "latency")}
        await tools.admin.call("POST", "/r2/behaviour", old)


async def crowded_keys(tools: Tools) -> dict[str, int]:
    """Keys of this user for which R2 answered 429, with how often."""
    seen = await tools.admin.call("GET", f"/r2/requests?limit=20000&status=429&prefix={user_prefix(tools)}")
    return dict(Counter(request["key"] for request in seen["requests"]))


def judge_crowding(crowded: Mapping[str, int]) -> list[str]:
    return [
        f"R2 answered 429 {times} × for {key}: several writers of one object at once"
        for key, times in sorted(crowded.items())
    ]


def judge(seen: BurstObservation) -> list[str]:
    reasons = judge_crowding(seen.crowded)
    reasons += judge_answers(seen.writes, lambda one: one.accepted, "201")
    slowest = max((one.seconds for one in seen.writes), default=0.0)
    if slowest > STALL_S:
        late = sum(one.seconds > STALL_S for one in seen.writes)
        reasons.append(f"{late} of {len(seen.writes)} writes took over {STALL_S:g} s, the longest {slowest:.1f} s")
    if seen.job != "complete":
        reasons.append(f"the job beside the burst is {seen.job}")
    return reasons + judge_shown([one.name for one in seen.writes if one.accepted], [seen.shown])


BURST: Check[BurstObservation] = Check(
    id="burst-crowds-no-object",
    title="A burst of writes beside a job: all are kept, none stalls, and R2 sees no two writers of one object",
    capability="H",
    observe=observe,
    judge=judge,
    broken=Broken("each request uploads one and the same object", Wrap(one_object_for_all)),
    needs=frozenset({Need.ADMIN, Need.FFMPEG}),
    deadline_s=120.0 + RENDER_S,
)
