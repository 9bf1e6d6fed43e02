"""Two Machines on one profile: neither erases what the other wrote, each shows what the other did."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from parity.checks.broken import unconditional_writes
from parity.checks.kit.machines import Patience, first_machine, one_more
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Env, Need, ProductFault, Unobservable, Wrap
from parity.checks.product.caller import Caller, new_profile, user_prefix
from parity.checks.product.writes import (
    POLL_S,
    Listed,
    Write,
    judge_answers,
    judge_shown,
    listed,
    listed_in_time,
    new_name,
    write,
)

FIRST, SECOND, COLD = "the first Machine", "the second Machine", "a third Machine with an empty disk"
# Turns that are played at least, and at most while nobody met anybody.
TURNS, MOST_TURNS = 6, 24
# How often the loser of a race comes again before "nothing saves" is said.
TRIES = 12
# How long an upload is held up, in seconds: another Machine's comes first.
HELD_S = 0.5
# SYNC_READ_CHECK of the backend where fly.toml sets none, and what a busy machine may take on top, in seconds.
READ_CHECK_S, GRACE_S = 1.0, 3.0

# --- nothing is lost


@dataclass(frozen=True)
class RaceObservation:
    """Every answer, in order, and what each Machine shows at the end; one that starts empty shows what R2 holds.

    ``made``: the answer to each profile that was made while another Machine made one; ``profiles``: those listed then.
    """

    writes: Sequence[Write]
    lists: Sequence[Listed]
    made: Mapping[str, int]
    profiles: Sequence[str]


async def observe_race(tools: Tools) -> RaceObservation:
    caller = await new_profile(tools)
    writes: list[Write] = []
    fired: dict[str, int] = {}
    async with one_more(tools.admin) as second:
        sides = ((FIRST, caller.on(await first_machine(tools.admin))), (SECOND, caller.on(second)))
        # In turns each takes over from the other, which must notice; in a race one is overtaken amid its upload.
        for turn in range(MOST_TURNS):
            for where, side in sides:
                await _until_accepted(side, where, writes)
            if turn >= TURNS - 1 and any(not one.accepted for one in writes):
                break
        for (early, overtaken), (late, other) in (sides, sides[::-1]):
            async with _held_up(tools, f"{user_prefix(tools)}profiles/{caller.profile}/database/*", fired) as held:
                task = asyncio.create_task(_until_accepted(overtaken, early, writes))
                await held()
                await _until_accepted(other, late, writes)
                await task
        accepted = [one.name for one in writes if one.accepted]
        patience = read_check_s(tools) + GRACE_S
        lists = [await listed_in_time(side, where, accepted, patience) for where, side in sides]
        made = await _profiles_at_once(tools, fired, *(side for _, side in sides))
    async with one_more(tools.admin) as cold:
        lists.append(await listed(caller.on(cold), COLD))
        profiles = await caller.on(cold).call("GET", "/api/profiles")
    seen = RaceObservation(writes, lists, made, [profile["id"] for profile in profiles["profiles"]])
    return certain(seen, fired)


def certain(seen: RaceObservation, held_up: Mapping[str, int]) -> RaceObservation:
    """``held_up``: how many PUTs of each key were. Raises ``Unobservable`` where all is well and of one none was."""
    never = [key for key, times in held_up.items() if not times]
    if never and not judge_race(seen):
        raise Unobservable(f"nobody was overtaken: no PUT of {' nor of '.join(never)} was held up")
    return seen


async def _until_accepted(side: Caller, where: str, writes: list[Write]) -> None:
    """As a client does that obeys a 503, but for the length of the pause: the other side is not waited for."""
    name = new_name(where)
    for _ in range(TRIES):
        writes.append(await write(side, where, name))
        if not writes[-1].refused_as_conflict:
            return
        await asyncio.sleep(secrets.randbelow(100) / 1000)


async def _profiles_at_once(tools: Tools, fired: dict[str, int], early: Caller, late: Caller) -> dict[str, int]:
    """One Machine has read the list of profiles and is about to write it; then the other one adds a profile."""
    async with _held_up(tools, f"{user_prefix(tools)}profiles.json", fired) as held:
        task = asyncio.create_task(early.ask("POST", "/api/profiles", {"name": "early", "id": "early"}))
        await held()
        second = await late.ask("POST", "/api/profiles", {"name": "late", "id": "late"})
        return {"early": (await task).status_code, "late": second.status_code}


@asynccontextmanager
async def _held_up(tools: Tools, key: str, fired: dict[str, int]) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """R2 takes in the next PUT of ``key`` later than what comes after it; what is given waits until it has come.
    ``fired`` is told how often that was so, the fewest times of a key counting.

    Two PUTs at the same moment would be a race with R2's own rule of one write at a time, and 5 s of waiting.
    """
    body = {"key": key, "operation": "PutObject", "delay": HELD_S, "count": 1}
    fault = (await tools.admin.call("POST", "/r2/faults", body))["id"]

    async def held() -> None:
        patience = Patience(HELD_S)
        while True:
            found = (await tools.admin.call("GET", "/r2/faults"))["faults"]
            if patience.over or any(one["id"] == fault and one["fired"] for one in found):
                return
            await asyncio.sleep(POLL_S / 5)

    try:
        yield held
    finally:
        removed = await tools.admin.call("DELETE", f"/r2/faults?id={fault}")
        times = removed["faults"][0]["fired"]
        fired[key] = min(fired.get(key, times), times)


def read_check_s(tools: Tools) -> float:
    """How old a read may be, in seconds: SYNC_READ_CHECK as configured, the backend's default where it is no number."""
    try:
        return float(tools.project.fly.env.get("SYNC_READ_CHECK", READ_CHECK_S))
    except ValueError:
        return READ_CHECK_S


def judge_race(seen: RaceObservation) -> list[str]:
    accepted = [one.name for one in seen.writes if one.accepted]
    reasons = judge_answers(
        seen.writes, lambda one: one.accepted or one.refused_as_conflict, "201, or 503 conflict with Retry-After"
    )
    if all(one.accepted for one in seen.writes):
        reasons.append(
            f"both Machines wrote in turns and at once, and none of {len(seen.writes)} writes was refused: "
            "whoever writes last wins"
        )
    never = {one.name for one in seen.writes if one.refused_as_conflict} - set(accepted)
    never -= {one.name for one in seen.writes if not (one.accepted or one.refused_as_conflict)}
    reasons += [f"nothing saves: {name!r} was refused {TRIES} times over" for name in sorted(never)]
    reasons += judge_shown(accepted, seen.lists)
    for profile, status in seen.made.items():
        if status != 201:
            reasons.append(f"the {profile} one of two profiles made at once: {status}, 201 expected")
        elif seen.profiles.count(profile) != 1:
            times = seen.profiles.count(profile)
            reasons.append(f"the {profile} one of two profiles made at once is listed {times} times")
    return reasons


RACE: Check[RaceObservation] = Check(
    id="two-machines-lose-nothing",
    title="Two Machines write to one profile: the loser gets 503 conflict and may come again, no write is lost",
    capability="D",
    observe=observe_race,
    judge=judge_race,
    broken=Broken("uploads are unconditional: the last write wins", Wrap(unconditional_writes)),
    needs=frozenset({Need.ADMIN}),
    deadline_s=120.0,
)

# --- each shows what the other did


@dataclass(frozen=True)
class Sight:
    """``seconds`` from the acknowledged write on one Machine until ``reader`` showed it; None: not ``within`` it."""

    reader: str
    before: str
    written: str
    shown: str
    seconds: float | None
    within: float


@dataclass(frozen=True)
class SightObservation:
    """Both directions; ``profile_status``: of a read on one Machine in a profile that the other has just made."""

    sights: Sequence[Sight]
    profile_status: int


async def observe_sight(tools: Tools) -> SightObservation:
    async with one_more(tools.admin) as second:
        caller = (await new_profile(tools)).on(await first_machine(tools.admin))
        other = caller.on(second)
        fresh = await other.ask("GET", "/api/settings")
        sights = [await _sight(tools, caller, other, SECOND), await _sight(tools, other, caller, FIRST)]
    return SightObservation(sights, fresh.status_code)


async def _sight(tools: Tools, writer: Caller, reader: Caller, name: str) -> Sight:
    """The reader has a copy of its own, as one whose page is open; then the other one writes."""
    before, written = (f"{word} {secrets.token_hex(4)}" for word in ("old", "new"))
    await _save(writer, before)
    within = read_check_s(tools) + GRACE_S
    await _until_shown(reader, before, within)
    await _save(writer, written)
    shown, seconds = await _until_shown(reader, written, within)
    return Sight(name, before, written, shown, seconds, within)


async def _save(writer: Caller, text: str) -> None:
    """A Machine that takes over may be told to come again."""
    for _ in range(TRIES):
        answer = await writer.ask("PATCH", "/api/settings", {"overlay_text": text})
        if (answer.status_code, answer.headers.get("x-sync-status")) != (503, "conflict"):
            break
    if not answer.is_success:
        raise ProductFault(f"PATCH /api/settings answered {answer.status_code}: {answer.text[:400]}")


async def _until_shown(reader: Caller, wanted: str, within: float) -> tuple[str, float | None]:
    patience = Patience(within)
    while True:
        shown = (await reader.call("GET", "/api/settings"))["overlay_text"]
        if shown == wanted:
            return shown, patience.spent
        if patience.over:
            return shown, None
        await asyncio.sleep(POLL_S)


def judge_sight(seen: SightObservation) -> list[str]:
    reasons = []
    if seen.profile_status != 200:
        reasons.append(f"a profile made on one Machine answers {seen.profile_status} on the other")
    for sight in seen.sights:
        if sight.seconds is None:
            reasons.append(
                f"{sight.reader} still shows {sight.shown!r} {sight.within:g} s after the other one acknowledged "
                f"{sight.written!r}"
            )
    return reasons


SIGHT: Check[SightObservation] = Check(
    id="two-machines-see-each-other",
    title="What one Machine acknowledged the other shows, within SYNC_READ_CHECK",
    capability="D",
    observe=observe_sight,
    judge=judge_sight,
    broken=Broken("a Machine never asks R2 whether another one wrote", Env({"SYNC_READ_CHECK": "never"})),
    needs=frozenset({Need.ADMIN}),
    deadline_s=90.0,
)
