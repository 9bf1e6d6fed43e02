"""What must hold before anything is pushed; pure comparisons."""

from __future__ import annotations

import json
from collections.abc import Iterable

from parity.config.fly_toml import FlyConfig
from parity.promote.machines import UnreadableAnswer


def parse_secret_names(text: str) -> dict[str, str]:
    """Name → status (``Deployed``, ``Staged``) of ``fly secrets list --json``; values are never in it."""
    try:
        entries = json.loads(text) or []
        return {entry["name"]: entry.get("status", "") for entry in entries}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableAnswer(f"fly secrets list --json: {error!r}") from None


def secret_differences(
    app: str, expected: Iterable[str], found: Iterable[str], where: str, optional: Iterable[str] = ()
) -> list[str]:
    """Names that Fly lacks or has beyond what was checked; a secret wins over ``[env]``, so an unknown one matters.

    ``optional`` ones may be there or not.
    """
    wanted, there = set(expected), set(found) - set(optional)
    problems = []
    if missing := sorted(wanted - there):
        values = " ".join(f"{name}=…" for name in missing)
        problems.append(f"Fly lacks {', '.join(missing)}\n  to do: fly secrets set --stage --app {app} {values}")
    if extra := sorted(there - wanted):
        names = " ".join(extra)
        problems.append(
            f"Fly holds {', '.join(extra)}, which the checks never saw\n"
            f"  to do: add them to {where} with stand-in values, or fly secrets unset --stage --app {app} {names}"
        )
    return problems


def config_problems(fly: FlyConfig) -> list[str]:
    """What would make a deploy say yes without having looked."""
    problems = []
    if fly.deploy.strategy == "immediate":
        problems.append('deploy.strategy = "immediate" waits for nothing and always exits 0; use "rolling"')
    if not fly.service.checks:
        problems.append("there is no [[http_service.checks]]: a deploy would only see that the process started")
    return problems
