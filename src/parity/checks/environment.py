"""A Machine's environment: what fly.toml, the secrets and the declared differences say, and nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from parity.checks.kit import containers
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Env, Need

# Set by Fly for each Machine; their values differ.
FLYS_OWN = re.compile(r"FLY_[A-Z_]+|PRIMARY_REGION")


@dataclass(frozen=True)
class EnvironmentObservation:
    """Variables of each Machine, beside those of fly.toml and the declared differences."""

    machines: Mapping[str, Mapping[str, str]]
    fly_toml: Mapping[str, str]
    secrets: Mapping[str, str]
    declared: Mapping[str, str]


async def observe_environment(tools: Tools) -> EnvironmentObservation:
    machines = {m["id"]: m["config"]["env"] for m in await tools.admin.machines()}
    if tools.target.driver == "docker":
        machines |= await asyncio.to_thread(containers.environments, tools.project.settings.compose_project_name)
    project = tools.project
    return EnvironmentObservation(
        machines, project.fly.env, project.secrets, {**project.standin_env, **project.overrides}
    )


def judge_environment(seen: EnvironmentObservation) -> list[str]:
    reasons = []
    expected = {**seen.fly_toml, **seen.secrets, **seen.declared}
    if not seen.machines:
        reasons.append("there is no Machine")
    for machine, env in seen.machines.items():
        for name, value in expected.items():
            if name not in env:
                reasons.append(f"{machine}: {name} is missing")
            elif env[name] != value:
                given = "another value than the file's" if name in seen.secrets else f"{env[name]!r}, not {value!r}"
                reasons.append(f"{machine}: {name} is {given}")
        undeclared = sorted(name for name in env if name not in expected and not FLYS_OWN.fullmatch(name))
        if undeclared:
            reasons.append(f"{machine}: {', '.join(undeclared)}: neither in fly.toml nor declared in parity.toml")
    return reasons


ENVIRONMENT: Check[EnvironmentObservation] = Check(
    id="environment-equals-fly-toml",
    title="A Machine's environment is fly.toml's, the secrets, and the declared differences; nothing else",
    capability="J",
    observe=observe_environment,
    judge=judge_environment,
    broken=Broken("a variable that only this stack has", Env({"ONLY_HERE": "1", "DEBUG": "true"})),
    needs=frozenset({Need.ADMIN}),
)
