"""Bad input gets a 4xx that says what was wrong, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from parity.checks.broken import bad_input_stored
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Need, Wrap
from parity.checks.product.caller import Caller, new_profile


@dataclass(frozen=True)
class Bad:
    """A request that must be refused with one of ``expected``."""

    what: str
    method: str
    path: str
    expected: tuple[int, ...]
    json: object = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


JSON = {"Content-Type": "application/json"}
REQUESTS: tuple[Bad, ...] = (
    Bad("unknown field", "POST", "/api/profiles", (422,), {"name": "x", "role": "admin"}),
    Bad("wrong type", "POST", "/api/profiles", (422,), {"name": ["x"]}),
    Bad("empty name", "POST", "/api/profiles", (422,), {"name": ""}),
    Bad("missing field", "POST", "/api/profiles", (422,), {}),
    Bad("no JSON", "POST", "/api/profiles", (400, 422), content=b"{name: x}", headers=JSON),
    Bad("not UTF-8", "POST", "/api/profiles", (400, 422), content=b'{"name": "\xff\xfe"}', headers=JSON),
    Bad("path-like id", "POST", "/api/profiles", (422,), {"name": "x", "id": "../../production"}),
    Bad("oversized body", "POST", "/api/profiles", (413,), content=b'{"name": "' + b"x" * 3_000_000, headers=JSON),
    Bad("path-like user", "POST", "/api/profiles", (400,), {"name": "x"}, headers={"X-User-ID": "../production"}),
    Bad("user with a slash", "POST", "/api/profiles", (400,), {"name": "x"}, headers={"X-User-ID": "a/b"}),
    Bad("path-like profile", "PATCH", "/api/settings", (400,), {"theme": "dark"}, headers={"X-Profile-ID": "../x"}),
    Bad("unknown profile", "PATCH", "/api/settings", (404,), {"theme": "dark"}, headers={"X-Profile-ID": "nobody"}),
    Bad("unknown value", "PATCH", "/api/settings", (422,), {"theme": "sepia"}),
    Bad("key of another profile", "GET", "/api/storage/url?key=../other/games/a/source.mp4", (400, 404, 422)),
)


@dataclass(frozen=True)
class Refused:
    """What one bad request got."""

    bad: Bad
    status: int
    problem: Mapping[str, Any]


@dataclass(frozen=True)
class BadInputObservation:
    """``before`` and ``after``: every key of the bucket with its ETag; ``settings`` of the profile at both times."""

    answers: list[Refused]
    before: Mapping[str, str]
    after: Mapping[str, str]
    settings_before: Mapping[str, Any]
    settings_after: Mapping[str, Any]
    healthy: bool


async def _bucket(tools: Tools) -> dict[str, str]:
    answer = await tools.admin.call("GET", "/r2/objects?limit=100000")
    return {entry["key"]: entry["etag"] for entry in answer["objects"]}


async def observe(tools: Tools) -> BadInputObservation:
    caller = await new_profile(tools)
    # The first write creates the database: what comes after must change nothing.
    settings = await caller.call("PATCH", "/api/settings", {"theme": "light"})
    before = await _bucket(tools)
    answers = [await _send(caller, bad) for bad in REQUESTS]
    return BadInputObservation(
        answers=answers,
        before=before,
        after=await _bucket(tools),
        settings_before=settings,
        settings_after=await caller.call("GET", "/api/settings"),
        healthy=all(machine["healthy"] for machine in await tools.admin.machines()),
    )


async def _send(caller: Caller, bad: Bad) -> Refused:
    options = {"content": bad.content} if bad.content is not None else {}
    answer = await caller.ask(bad.method, bad.path, bad.json, headers=bad.headers, **options)
    is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return Refused(bad, answer.status_code, answer.json() if is_problem else {})


def judge(seen: BadInputObservation) -> list[str]:
    reasons = []
    for answer in seen.answers:
        if answer.status not in answer.bad.expected:
            wanted = " or ".join(map(str, answer.bad.expected))
            reasons.append(f"{answer.bad.what}: {answer.status}, {wanted} expected")
        elif not answer.problem.get("detail"):
            reasons.append(f"{answer.bad.what}: {answer.status} without a problem body that says what was wrong")
    for key in sorted(seen.before.keys() | seen.after.keys()):
        if seen.before.get(key) != seen.after.get(key):
            how = "appeared" if key not in seen.before else "is gone" if key not in seen.after else "changed"
            reasons.append(f"after refused requests {key} {how}")
    if seen.settings_before != seen.settings_after:
        reasons.append(f"settings were {dict(seen.settings_before)}, are {dict(seen.settings_after)}")
    if not seen.healthy:
        reasons.append("a Machine is not healthy afterwards")
    return reasons


BAD_INPUT: Check[BadInputObservation] = Check(
    id="bad-input-leaves-nothing",
    title="Bad input gets a 4xx that says why; the bucket and the profile stay as they were",
    capability="M",
    observe=observe,
    judge=judge,
    broken=Broken("a handler writes before it validates", Wrap(bad_input_stored)),
    needs=frozenset({Need.ADMIN}),
)
