"""What is no video is refused when its upload is finished, and nothing of it stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parity.checks.broken import uploads_unchecked
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Need, ProductFault, Wrap
from parity.checks.product.caller import Caller, new_profile, user_prefix
from parity.checks.product.exports import SMALL_SECONDS
from parity.checks.product.journey import upload

TEXT = b"This is a text and no video.\n" * 400
# A folder of the Machine in a reason; a path of the API is none.
MACHINE_PATH = re.compile(r"file:|(?<![\w:/.])/(?!api/)[\w.-]+/")


@dataclass(frozen=True)
class Refusal:
    """How finishing one bad upload ended."""

    what: str
    expected: tuple[int, ...]
    status: int
    detail: str


@dataclass(frozen=True)
class BadVideoObservation:
    """``media``: keys of videos of this user at the end, ``games``: what the API lists, but for the one good game."""

    refusals: list[Refusal]
    media: list[str]
    good_key: str
    ready: list[str]
    good_id: str
    healthy: bool


async def observe(tools: Tools) -> BadVideoObservation:
    caller = await new_profile(tools)
    video = await tools.media.video(SMALL_SECONDS, "640x360")
    good = await upload(caller, video)
    data = video.read_bytes()
    refusals = [
        await _upload(caller, "a text as video", TEXT, len(TEXT), (422,)),
        await _upload(caller, "a truncated video", data[: len(data) // 3], len(data), (422,)),
        await _upload(caller, "a video cut off in the middle", data[: len(data) // 3], len(data) // 3, (422,)),
        await _upload(caller, "nothing uploaded", None, len(data), (409,)),
        await _clip(caller, good, "a clip past the end", SMALL_SECONDS + 5.0, SMALL_SECONDS + 8.0),
        await _clip(caller, good, "a clip that ends before it starts", 3.0, 1.0),
    ]
    games = (await caller.call("GET", "/api/games"))["games"]
    keys = await tools.admin.keys(f"{user_prefix(tools)}profiles/{caller.profile}/")
    return BadVideoObservation(
        refusals=refusals,
        media=[key for key in keys if "/games/" in key],
        good_key=f"{user_prefix(tools)}profiles/{caller.profile}/{good['key']}",
        ready=[game["id"] for game in games if game["status"] == "ready"],
        good_id=good["id"],
        healthy=all(machine["healthy"] for machine in await tools.admin.machines()),
    )


async def _upload(caller: Caller, what: str, data: bytes | None, size: int, expected: tuple[int, ...]) -> Refusal:
    wanted = {"name": what, "filename": "bad.mp4", "content_type": "video/mp4", "size": size}
    prepared = await caller.call("POST", "/api/games/prepare-upload", wanted)
    if data is not None:
        target = prepared["upload"]
        sent = await caller.tools.http.request("PUT", target["url"], content=data, headers=target["headers"])
        if sent.status_code != 200:
            raise ProductFault(f"{what}: the presigned PUT answered {sent.status_code}: {sent.text[:200]}")
    answer = await caller.ask("POST", f"/api/games/{prepared['game_id']}/finalize-upload", {"parts": []})
    return Refusal(what, expected, answer.status_code, _detail(answer.json()))


async def _clip(caller: Caller, game: Mapping[str, Any], what: str, start: float, end: float) -> Refusal:
    body = {"game_id": game["id"], "name": what, "start": start, "end": end}
    answer = await caller.ask("POST", "/api/clips", body)
    return Refusal(what, (422,), answer.status_code, _detail(answer.json()))


def _detail(body: Mapping[str, Any]) -> str:
    return str(body.get("detail", ""))


def judge(seen: BadVideoObservation) -> list[str]:
    reasons = []
    for refusal in seen.refusals:
        if refusal.status not in refusal.expected:
            wanted = " or ".join(map(str, refusal.expected))
            reasons.append(f"{refusal.what}: {refusal.status}, {wanted} expected ({refusal.detail[:150]})")
        elif not refusal.detail:
            reasons.append(f"{refusal.what}: {refusal.status} without a word on what was wrong")
        elif MACHINE_PATH.search(refusal.detail):
            reasons.append(f"{refusal.what}: the reason tells a path of the Machine ({refusal.detail[:150]})")
    reasons += [f"{key} stayed in the bucket" for key in seen.media if key != seen.good_key]
    if seen.good_key not in seen.media:
        reasons.append(f"the good video is gone: {seen.good_key}")
    if seen.ready != [seen.good_id]:
        reasons.append(f"games that are called ready: {seen.ready}, only {seen.good_id} is a video")
    if not seen.healthy:
        reasons.append("a Machine is not healthy afterwards")
    return reasons


BAD_VIDEOS: Check[BadVideoObservation] = Check(
    id="bad-videos-leave-nothing",
    title="A text, a truncated video and an upload of nothing are refused with a reason, and nothing of them stays",
    capability="M",
    observe=observe,
    judge=judge,
    broken=Broken("finishing an upload looks at nothing", Wrap(uploads_unchecked)),
    needs=frozenset({Need.ADMIN, Need.FFMPEG}),
)
