"""What was acknowledged outlives the Machine; what cannot be read is not taken for empty."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parity.checks.broken import failure_as_empty
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Env, Need, Wrap
from parity.checks.product.caller import Caller, new_profile, user_prefix

# --- survives a Machine


@dataclass(frozen=True)
class SurvivalObservation:
    """What was written, what the bucket held then, and what a new Machine shows."""

    written: Mapping[str, Any]
    sync_status: str
    keys: list[str]
    prefix: str
    new_machine: bool
    profile_shown: bool
    shown: Mapping[str, Any]


async def observe_survival(tools: Tools) -> SurvivalObservation:
    caller = await new_profile(tools)
    written = {"overlay_text": f"kept {secrets.token_hex(4)}", "aspect_ratio": "9:16"}
    answer = await caller.ask("PATCH", "/api/settings", written)
    keys = await tools.admin.keys(user_prefix(tools))
    before = {machine["id"] for machine in await tools.admin.machines()}
    await tools.admin.replace_machines()
    profiles = await caller.call("GET", "/api/profiles")
    shown = await caller.call("GET", "/api/settings", headers={"Cache-Control": "no-cache"})
    after = {machine["id"] for machine in await tools.admin.machines()}
    return SurvivalObservation(
        written=written if answer.is_success else {},
        sync_status=answer.headers.get("x-sync-status", ""),
        keys=keys,
        prefix=user_prefix(tools),
        new_machine=not before & after,
        profile_shown=caller.profile in [profile["id"] for profile in profiles["profiles"]],
        shown=shown,
    )


def judge_survival(seen: SurvivalObservation) -> list[str]:
    reasons = []
    if not seen.written:
        reasons.append("the write was refused")
    if seen.sync_status != "synced":
        reasons.append(f"the write was acknowledged with X-Sync-Status {seen.sync_status or 'absent'}, not synced")
    if not any("/database" in key for key in seen.keys):
        reasons.append(f"after an acknowledged write the bucket holds no database below {seen.prefix}: {seen.keys}")
    if f"{seen.prefix}profiles.json" not in seen.keys:
        reasons.append(f"after an acknowledged write the bucket has no {seen.prefix}profiles.json")
    if not seen.new_machine:
        reasons.append("the Machine was not replaced: nothing was shown")
    if not seen.profile_shown:
        reasons.append("the new Machine does not know the profile")
    reasons += [
        f"the new Machine shows {name} {seen.shown.get(name)!r}, written was {value!r}"
        for name, value in seen.written.items()
        if seen.shown.get(name) != value
    ]
    return reasons


SURVIVAL: Check[SurvivalObservation] = Check(
    id="survives-machine-destroy",
    title="An acknowledged write is in the bucket, and a Machine with an empty disk shows it",
    capability="B",
    observe=observe_survival,
    judge=judge_survival,
    broken=Broken(
        "databases stay on the Machine's disk (R2 off)", Env({"R2_ENABLED": "false", "MODAL_ENABLED": "false"})
    ),
    needs=frozenset({Need.ADMIN}),
    deadline_s=120.0,
)

# --- storage down


@dataclass(frozen=True)
class Refusal:
    """One answer while R2 fails."""

    what: str
    status: int
    sync_status: str
    retry_after: str
    readable: bool
    body: str


@dataclass(frozen=True)
class OutageObservation:
    """Answers of a cold Machine while every call to R2 fails, and what is there afterwards."""

    during: list[Refusal]
    health: int
    etags_before: Mapping[str, str]
    etags_after: Mapping[str, str]
    written: str
    shown: str


async def _etags(tools: Tools) -> dict[str, str]:
    answer = await tools.admin.call("GET", f"/r2/objects?prefix={user_prefix(tools)}")
    return {entry["key"]: entry["etag"] for entry in answer["objects"]}


async def observe_outage(tools: Tools) -> OutageObservation:
    caller = await new_profile(tools)
    written = f"before the outage {secrets.token_hex(4)}"
    await caller.call("PATCH", "/api/settings", {"overlay_text": written})
    before = await _etags(tools)
    fault = await tools.admin.call("POST", "/r2/faults", {"status": 500, "rate": 1})
    try:
        # Cold, so that nothing is answered from a cache.
        await tools.admin.replace_machines()
        during = [
            await _refusal(caller, "list of profiles", "GET", "/api/profiles"),
            await _refusal(caller, "read", "GET", "/api/settings"),
            await _refusal(caller, "write", "PATCH", "/api/settings", {"overlay_text": "during the outage"}),
        ]
        health = (await caller.ask("GET", tools.project.health_path)).status_code
    finally:
        await tools.admin.call("DELETE", f"/r2/faults?id={fault['id']}")
    shown = await caller.call("GET", "/api/settings")
    return OutageObservation(during, health, before, await _etags(tools), written, shown["overlay_text"])


async def _refusal(caller: Caller, what: str, method: str, path: str, json: object = None) -> Refusal:
    # The backend tries R2 several times before it gives up.
    answer = await caller.ask(method, path, json, timeout=90)
    return Refusal(
        what=what,
        status=answer.status_code,
        sync_status=answer.headers.get("x-sync-status", ""),
        retry_after=answer.headers.get("retry-after", ""),
        readable=answer.headers.get("access-control-allow-origin") == caller.tools.target.frontend_origin,
        body=answer.text[:200],
    )


def judge_outage(seen: OutageObservation) -> list[str]:
    reasons = []
    for refusal in seen.during:
        if refusal.status != 503:
            reasons.append(f"{refusal.what} while R2 failed: {refusal.status} {refusal.body!r}, 503 expected")
            continue
        if not refusal.retry_after:
            reasons.append(f"{refusal.what} while R2 failed: no Retry-After")
        if refusal.what != "list of profiles" and refusal.sync_status != "failed":
            reasons.append(f"{refusal.what} while R2 failed: X-Sync-Status {refusal.sync_status or 'absent'}")
        if not refusal.readable:
            reasons.append(f"{refusal.what} while R2 failed: the frontend cannot read the answer (CORS)")
    if seen.health != 200:
        reasons.append(f"the health check answered {seen.health} while R2 failed: Fly would take the Machine out")
    if seen.etags_after != seen.etags_before:
        changed = sorted(
            key
            for key in seen.etags_before.keys() | seen.etags_after.keys()
            if seen.etags_before.get(key) != seen.etags_after.get(key)
        )
        reasons.append(f"objects changed over the outage: {', '.join(changed)}")
    if seen.shown != seen.written:
        reasons.append(f"after the outage the profile shows {seen.shown!r}, written was {seen.written!r}")
    return reasons


OUTAGE: Check[OutageObservation] = Check(
    id="storage-down-is-503-not-empty",
    title="While R2 fails the answer is 503 that the frontend can read, and nothing is overwritten",
    capability="C",
    observe=observe_outage,
    judge=judge_outage,
    broken=Broken("a storage error is taken for an empty answer", Wrap(failure_as_empty)),
    needs=frozenset({Need.ADMIN}),
    deadline_s=300.0,
)
