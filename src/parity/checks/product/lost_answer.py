"""An upload took effect and its answer was lost: what stands there then is one's own, and work goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from parity.checks.broken import stuck_after_lost_answer
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Need, Unobservable, Wrap
from parity.checks.product.caller import Caller, new_profile, user_prefix
from parity.checks.product.writes import Listed, Write, judge_answers, judge_shown, listed, new_name, write

T = TypeVar("T")
ONLY = "the Machine"
AFTERWARDS = 3


@dataclass(frozen=True)
class LostAnswerObservation:
    """``during``: the write whose upload's answer was lost; ``profile_status``: of a profile that was made likewise."""

    during: Write
    after: Sequence[Write]
    shown: Listed
    profile_status: int
    profile_shown: int


async def observe(tools: Tools) -> LostAnswerObservation:
    caller = await new_profile(tools)
    # The profile's database is there, and this Machine is the one that writes to it.
    await caller.call("POST", "/api/projects", {"name": "before"})
    during = await _losing(tools, f"*/profiles/{caller.profile}/database/*", caller)
    after = [await write(caller, ONLY, new_name("after")) for _ in range(AFTERWARDS)]
    shown = await listed(caller, ONLY)
    status = await _profile_made(tools, caller)
    profiles = await caller.ask("GET", "/api/profiles")
    found = [profile["id"] for profile in profiles.json()["profiles"]] if profiles.is_success else []
    return LostAnswerObservation(during, after, shown, status, found.count("second"))


async def _losing(tools: Tools, key: str, caller: Caller) -> Write:
    async with _lost_answer(tools, key) as fault:
        made = await write(caller, ONLY, new_name("during"))
    return _certain(made, made.accepted, fault, key)


async def _profile_made(tools: Tools, caller: Caller) -> int:
    key = f"{user_prefix(tools)}profiles.json"
    async with _lost_answer(tools, key) as fault:
        status = (await caller.ask("POST", "/api/profiles", {"name": "second", "id": "second"})).status_code
    return _certain(status, status == 201, fault, key)


@asynccontextmanager
async def _lost_answer(tools: Tools, key: str) -> AsyncIterator[dict[str, Any]]:
    """The next PUT of ``key`` takes effect and is not answered; afterwards ``fired`` says how often that was so."""
    body = {"key": key, "operation": "PutObject", "drop": "after", "count": 1}
    fault = await tools.admin.call("POST", "/r2/faults", body)
    try:
        yield fault
    finally:
        removed = await tools.admin.call("DELETE", f"/r2/faults?id={fault['id']}")
        fault["fired"] = removed["faults"][0]["fired"]


def _certain(seen: T, accepted: bool, fault: Mapping[str, Any], key: str) -> T:
    if accepted and not fault["fired"]:
        raise Unobservable(f"no answer to a PUT of {key} was lost: nothing was uploaded there")
    return seen


def judge(seen: LostAnswerObservation) -> list[str]:
    accepted = [one.name for one in (seen.during, *seen.after) if one.accepted]
    reasons = []
    if not seen.during.accepted:
        reasons.append(f"its own upload, whose answer was lost, stopped the write: {seen.during.said}")
    reasons += judge_answers(seen.after, lambda one: one.accepted, "201 for a write after it")
    if seen.profile_status != 201:
        reasons.append(f"a profile whose upload's answer was lost: {seen.profile_status}, 201 expected")
    if seen.profile_shown != 1:
        reasons.append(f"the profile whose upload's answer was lost is listed {seen.profile_shown} times")
    return reasons + judge_shown(accepted, [seen.shown])


LOST_ANSWER: Check[LostAnswerObservation] = Check(
    id="lost-answer-is-no-conflict",
    title="An upload whose answer was lost is known as one's own: the write counts, and so do those after it",
    capability="D",
    observe=observe,
    judge=judge,
    broken=Broken("after a lost answer nothing saves until a restart", Wrap(stuck_after_lost_answer)),
    needs=frozenset({Need.ADMIN}),
    deadline_s=120.0,
)
