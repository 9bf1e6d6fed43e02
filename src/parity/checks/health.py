"""Is it alive, as Fly asks and as it says itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parity.checks.broken import https_only_by_header
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Env, Need, Wrap


@dataclass(frozen=True)
class HealthObservation:
    """Status of each configured check on each Machine, once it has one; ``public`` is the edge's answer."""

    configured: int
    machines: Mapping[str, list[tuple[str, str]]]
    public: int
    health_path: str


async def observe_health(tools: Tools) -> HealthObservation:
    checks = tools.project.fly.service.checks
    # A result counts only after the grace period; then one interval and one timeout pass at most.
    patience = max((c.grace_period_s + c.interval_s + c.timeout_s for c in checks), default=0.0) + 10
    deadline = time.monotonic() + patience
    while True:
        machines = {
            machine["id"]: [(check["status"], check["output"]) for check in machine["checks"]]
            for machine in await tools.admin.machines()
            if machine["state"] == "started"
        }
        settled = machines and all(status != "waiting" for results in machines.values() for status, _ in results)
        if settled or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    path = tools.project.health_path
    public = await tools.http.request("GET", path)
    return HealthObservation(len(checks), machines, public.status_code, path)


def judge_health(seen: HealthObservation) -> list[str]:
    reasons = []
    if not seen.machines:
        reasons.append("no Machine is started")
    for machine, results in seen.machines.items():
        if len(results) != seen.configured:
            reasons.append(f"{machine}: {len(results)} checks, fly.toml has {seen.configured}")
        reasons += [
            f"{machine}: the check is {status} ({output.strip()[:120]}): Fly would not route to it"
            for status, output in results
            if status != "passing"
        ]
    if not seen.configured:
        reasons.append("fly.toml has no health check: a deploy would see only that the process started")
    if seen.public != 200:
        reasons.append(f"{seen.health_path} through the edge: {seen.public}")
    return reasons


HEALTH: Check[HealthObservation] = Check(
    id="health-check-as-fly-calls-it",
    title="The health check of fly.toml passes as Fly sends it: plain HTTP, past the edge, no forwarded headers",
    capability="A",
    observe=observe_health,
    judge=judge_health,
    broken=Broken("the app redirects what did not come by https", Wrap(https_only_by_header, wait=False)),
    needs=frozenset({Need.ADMIN}),
    deadline_s=150.0,
)


@dataclass(frozen=True)
class StatusObservation:
    """``/api/status`` beside what it should say."""

    status: int
    body: Mapping[str, Any]
    app_env: str
    app: str


async def observe_status(tools: Tools) -> StatusObservation:
    answer = await tools.http.request("GET", "/api/status")
    body = answer.json() if answer.status_code == 200 else {}
    return StatusObservation(answer.status_code, body, tools.project.fly.env.get("APP_ENV", ""), tools.project.fly.app)


def judge_status(seen: StatusObservation) -> list[str]:
    if seen.status != 200:
        return [f"/api/status answers {seen.status}"]
    reasons = []
    for name, expected in (("app_env", seen.app_env), ("app", seen.app)):
        if seen.body.get(name) != expected:
            reasons.append(f"{name} is {seen.body.get(name)!r}, fly.toml says {expected!r}")
    for service in ("r2", "modal"):
        state = seen.body.get(service) or {}
        if state.get("enabled") is not True or state.get("reachable") is not True:
            reasons.append(f"{service}: enabled {state.get('enabled')}, reachable {state.get('reachable')}")
    return reasons


STATUS: Check[StatusObservation] = Check(
    id="status-tells-what-runs",
    title="The app says that it is staging, and reaches R2 and Modal",
    capability="J",
    observe=observe_status,
    judge=judge_status,
    broken=Broken("R2_ENDPOINT is a localhost URL", Env({"R2_ENDPOINT": "http://localhost:9"})),
    live_safe=True,
)
