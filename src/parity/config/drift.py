"""Finds where running Machines differ from fly.toml. Pure functions on Machines as Fly's Machines API shows them.

``[env]`` and secrets are not compared here: the API does not show the values of secrets.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from parity.config.fly_toml import FlyConfig
from parity.config.machine_config import machine_config

# Parts of a Machine's configuration: size, command, signal to stop, HTTP service, health checks, volumes, restarts.
PARTS = ("guest", "init", "stop_config", "services", "checks", "mounts", "restart")
# Process groups of Machines that run one command, such as the release command.
_TEMPORARY = "fly_app_"


def drift(fly: FlyConfig, machines: Sequence[Mapping[str, Any]], parts: Collection[str] = PARTS) -> list[str]:
    """A sentence for each difference between the Machines and fly.toml, also for groups that only one of them has.

    A size that fly.toml does not name is not compared, because a deploy then keeps the Machine's own (superfly/flyctl,
    internal/appconfig/machines.go: "Only override machine's Guest if app config knows what to set").
    """
    named = fly.model_copy(update={"files": []})  # their contents are not compared, so they need not be read
    groups = {fly.group: named, **{name: named.of_group(name) for name in fly.other_groups}}
    found, seen = [], set()
    for machine in machines:
        runs = machine["config"]
        group = (runs.get("metadata") or {}).get("fly_process_group", "")
        seen.add(group)
        if group.startswith(_TEMPORARY):
            continue
        if group not in groups:
            found.append(f"Machine {machine['id']} runs the process group {group}, which fly.toml does not have")
            continue
        wanted = machine_config(groups[group], "", serves=group == fly.group)
        compared = [part for part in parts if part != "guest" or fly.vm]
        for part in compared:
            found += [
                f"Machine {machine['id']} ({group}) has {place} {now}, and fly.toml says {then}"
                for place, now, then in _differences(part, runs.get(part), wanted.get(part))
            ]
    return found + [f"no Machine runs the process group {name} of fly.toml" for name in groups if name not in seen]


def _differences(place: str, runs: Any, says: Any) -> Iterator[tuple[str, str, str]]:
    """The places where the two differ. What only the Machine has inside of a table is ignored: Fly adds defaults."""
    if isinstance(runs, dict) and isinstance(says, dict):
        for name in says:
            yield from _differences(f"{place}.{name}", runs.get(name), says[name])
    elif isinstance(runs, list) and isinstance(says, list) and len(runs) == len(says):
        for number, (one, other) in enumerate(zip(runs, says, strict=True)):
            yield from _differences(f"{place}.{number}", one, other)
    elif runs != says and (runs or says):
        yield place, _short(runs), _short(says)


def _short(value: Any) -> str:
    return "nothing" if value in (None, {}, [], "") else json.dumps(value)
