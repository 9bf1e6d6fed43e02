"""A Machine and its events as the Machines API shows them.

flyctl depends on these fields: without ``host_status`` or ``metadata`` it creates another Machine, it treats a recent
``start`` event as a start in progress, and it reads the exit code of a release command from the newest ``exit`` event
(superfly/fly-go, machine_types.go; superfly/flyctl, internal/machine/leasable_machine.go).
"""

from __future__ import annotations

from typing import Any

from parity.fly.api.state import parse_reference, stamp
from parity.fly.machines.machine import Machine
from parity.fly.machines.state import Event, State

# flyctl waits until a start event is this old, in milliseconds.
SETTLED_MS = 15_000
KEPT_EVENTS = 20


def machine_json(
    machine: Machine, config: dict[str, Any], digest: str, region: str, ignored: tuple[str, ...] = ()
) -> dict[str, Any]:
    """``config`` is the configuration that flyctl sent, ``digest`` that of its image in the registry.

    ``ignored`` lists the fields of ``config`` without effect in the stand-in. Fly has no such field.
    """
    reference = parse_reference(str(config["image"]))
    state = str(machine.state)
    if machine.state is State.CREATED:
        state = str(State.STOPPED)  # created without a launch: Fly shows it as stopped
    shown: dict[str, Any] = {
        "id": machine.id,
        "name": machine.id,
        "state": state,
        "region": region,
        "host_status": "ok",
        "cordoned": machine.cordoned,
        "image_ref": {
            "registry": reference.registry,
            "repository": reference.repository,
            "tag": reference.tag,
            "digest": digest,
            "labels": None,
        },
        "instance_id": machine.spec.environment["FLY_MACHINE_VERSION"],
        "private_ip": machine.spec.environment["FLY_PRIVATE_IP"],
        "created_at": stamp(machine.life.events[0].time if machine.life.events else None),
        "updated_at": stamp(machine.life.since),
        "config": config,
        "events": events_json(machine),
        "checks": checks_json(machine, config),
    }
    return {**shown, "parity_ignored": list(ignored)} if ignored else shown


def checks_json(machine: Machine, config: dict[str, Any]) -> list[dict[str, Any]]:
    """Each check with its state. flyctl only waits for health if a Machine has checks."""
    if machine.checks is None:
        named = [*(config.get("checks") or {})]
        port = machine.spec.internal_port
        for service in config.get("services") or []:
            for number, check in enumerate(service.get("checks") or []):
                named.append(f"servicecheck-{number:02}-{check.get('type', 'http')}-{port}")
        what = "the machine is not running"
        return [{"name": name, "status": "warning", "output": what, "updated_at": stamp()} for name in named]
    return [
        {
            "name": check.name,
            "status": str(check.health) if str(check.health) != "waiting" else "critical",
            "output": check.output,
            "updated_at": stamp(check.updated or None),
        }
        for check in machine.checks.states
    ]


def events_json(machine: Machine) -> list[dict[str, Any]]:
    """Newest first."""
    shown: list[dict[str, Any]] = []
    restarts = 0
    for number, event in enumerate(machine.life.events):
        one = _event(event, number)
        if event.type == "stopped":
            restarts = restarts + 1 if event.detail.get("restart") else 0
            one["request"]["restart_count"] = restarts
        shown.append(one)
    return shown[::-1][:KEPT_EVENTS]


def _event(event: Event, number: int) -> dict[str, Any]:
    moment = int(event.time * 1000)
    one = {"id": f"ev{moment}{number}", "source": "flyd", "timestamp": moment}
    if event.type == "starting":
        return {**one, "type": "launch", "status": "created", "source": "user", "timestamp": moment - SETTLED_MS}
    if event.type == "started":
        return {**one, "type": "start", "status": "started", "timestamp": moment - SETTLED_MS}
    if event.type != "stopped":
        return {**one, "type": "update", "status": event.type}
    crashed = bool(event.detail.get("crashed"))
    code = event.detail.get("exit_code", 0)
    exit_event = {
        "exit_code": code,
        "guest_exit_code": code,
        "requested_stop": not crashed,
        "restarting": bool(event.detail.get("restart")),
        "oom_killed": bool(event.detail.get("oom_killed")),
        "exited_at": stamp(event.time),
    }
    status = "started" if crashed and event.detail.get("restart") else "stopped"
    return {**one, "type": "exit", "status": status, "request": {"restart_count": 0, "exit_event": exit_event}}
