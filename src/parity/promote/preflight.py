"""Comparisons that must succeed before an image is pushed. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable

from parity.config.fly_toml import FlyConfig
from parity.promote.machines import UnreadableAnswer


def parse_secret_names(text: str) -> dict[str, str]:
    """Name → status (``Deployed``, ``Staged``) from ``fly secrets list --json``, which contains no values."""
    try:
        entries = json.loads(text) or []
        return {entry["name"]: entry.get("status", "") for entry in entries}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableAnswer(f"fly secrets list --json: {error!r}") from None


def secret_differences(
    app: str, expected: Iterable[str], found: Iterable[str], where: str, optional: Iterable[str] = ()
) -> list[str]:
    """One message for the secrets that Fly lacks, and one for those that the checks did not have.

    An unexpected secret matters because it overrides ``[env]``. Names in ``optional`` may exist or not.
    """
    wanted, there = set(expected), set(found) - set(optional)
    problems = []
    if missing := sorted(wanted - there):
        values = " ".join(f"{name}=…" for name in missing)
        problems.append(f"Fly lacks {', '.join(missing)}\n  to do: fly secrets set --stage --app {app} {values}")
    if extra := sorted(there - wanted):
        names = " ".join(extra)
        problems.append(
            f"Fly has {', '.join(extra)}, which the checks ran without\n"
            f"  to do: add them to {where} with stand-in values, or fly secrets unset --stage --app {app} {names}"
        )
    return problems


def config_problems(fly: FlyConfig) -> list[str]:
    """Settings of fly.toml with which a deploy reports success without checking the Machines."""
    problems = []
    if fly.deploy.strategy == "immediate":
        problems.append('deploy.strategy = "immediate" waits for no health check and always exits 0; use "rolling"')
    if not fly.service.checks:
        problems.append("[[http_service.checks]] is missing: a deploy would only see that the process started; add one")
    return problems
