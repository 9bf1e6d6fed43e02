"""The state of each part of a stack, for `parity status`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from parity.stack.processes import is_alive
from parity.stack.state import StackState
from parity.stack.supervisor import is_healthy


@dataclass(frozen=True)
class PartStatus:
    """``state`` is healthy, unhealthy, starting or ended. ``detail`` is a pid or Docker's description."""

    name: str
    state: str
    detail: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def process_status(state: StackState) -> list[PartStatus]:
    """Check every process and its health URL."""
    found = []
    for part in state.parts:
        if not is_alive(part.process):
            found.append(PartStatus(part.name, "ended", f"log: {part.log}"))
            continue
        healthy = is_healthy(part.health_url)
        waiting = "unhealthy" if state.ready else "starting"
        found.append(PartStatus(part.name, "healthy" if healthy else waiting, f"pid {part.process.pid}"))
    return found


def compose_status(ps_output: str) -> list[PartStatus]:
    """Read ``docker compose ps --format json``: one object per line (Compose 2.21 and later) or one array."""
    text = ps_output.strip()
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    found = []
    for row in rows:
        state = "ended" if row.get("State") in ("exited", "dead", "removing") else row.get("Health") or row.get("State")
        found.append(PartStatus(str(row.get("Service")), str(state), str(row.get("Status") or "")))
    return sorted(found, key=lambda part: part.name)


def machine_state(machine: Mapping[str, object]) -> str:
    """The state of a Machine of ``GET /fly/machines`` in words.

    A stopped Machine is asleep if it was asked to stop, else it ended by itself.
    """
    state = str(machine.get("state"))
    if state == "suspended":
        return "asleep (suspended; the next request resumes it)"
    if state == "stopped":
        events = machine.get("events")
        types = [str(event.get("type")) for event in events] if isinstance(events, list) else []
        asked = "stopping" in types[-3:]
        if asked and "group" in machine:
            return "stopped (no request starts a Machine of this group)"
        return "asleep (stopped; the next request starts it)" if asked else "ended by itself (parity machine logs)"
    return f"{state}, {'healthy' if machine.get('healthy') else 'not healthy'}"
