"""The Machines API (``flaps``) for one app, on the stand-in's fleet."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from parity.fly.api.registry import Registry, digest_of
from parity.fly.api.state import LEASE_S, ApiState, Secret, parse_reference, stamp
from parity.fly.fleet import Fleet
from parity.fly.machines.machine import Machine
from parity.fly.machines.release import Release
from parity.fly.machines.state import State

WAIT_S = 60.0
POLL_S = 0.05
# flyctl takes an event that is younger than this for one that is under way, in milliseconds.
SETTLED_MS = 15_000


class MachinesApi:
    """``/v1/apps…``. ``app`` is the only app there is."""

    def __init__(self, app: str, region: str, fleet: Fleet, state: ApiState, registry: Registry) -> None:
        self._app, self._region, self._fleet, self._state, self._registry = app, region, fleet, state, registry

    async def handle(self, request: Request) -> Response:
        parts = request.path_params["path"].strip("/").split("/")
        method = request.method
        body = await _body(request)
        if parts == ["platform", "regions"]:
            return JSONResponse({"Regions": [{"code": self._region, "name": self._region, "gateway_available": True}]})
        if parts[0] != "apps":
            return _error(404, "not implemented by the stand-in")
        if len(parts) == 1:
            return self._apps(method, body)
        if parts[1] != self._app:
            return _error(404, "app not found")
        match parts[2:]:
            case []:
                return JSONResponse(self._shown_app()) if method == "GET" else _error(501, "not implemented")
            case ["ip_assignments"]:
                return self._addresses(method, body)
            case ["secrets"]:
                return self._secrets(method, body)
            case ["machines"] if method == "GET":
                return JSONResponse([self.shown(machine) for machine in self._fleet.machines.values()])
            case ["machines"]:
                return await self._create(body)
            case ["machines", machine_id, *action] if machine_id in self._fleet.machines:
                return await self._machine(request, self._fleet.machines[machine_id], "/".join(action), body)
            case ["machines", *_]:
                return _error(404, "machine not found")
        return _error(404, "not implemented by the stand-in")

    def _apps(self, method: str, body: dict[str, Any]) -> Response:
        if method == "GET":
            return JSONResponse({"total_apps": 1, "apps": [self._shown_app()]})
        name = body.get("name")
        if name == self._app:
            return _error(422, "Validation failed: Name has already been taken")
        return _error(422, f"Validation failed: the stand-in has one app, {self._app}")

    def _shown_app(self) -> dict[str, Any]:
        return {
            "id": self._app,
            "name": self._app,
            "internal_numeric_id": 1,
            "network": "default",
            "status": "deployed" if self._fleet.machines else "pending",
            "machine_count": len(self._fleet.machines),
            "volume_count": 0,
            "organization": {"name": "Parity", "slug": "parity", "internal_numeric_id": 1},
            "cname_target": f"{self._app}.fly.dev",
            "app_role": "",
        }

    def _addresses(self, method: str, body: dict[str, Any]) -> Response:
        if method == "GET":
            return JSONResponse({"ips": self._state.addresses})
        shared = "shared" in str(body.get("type"))
        address = {
            "ip": "203.0.113.10" if shared else f"2001:db8::{len(self._state.addresses) + 1}",
            "region": "global",
            "service_name": "",
            "shared": shared,
            "created_at": stamp(),
        }
        self._state.addresses.append(address)
        return JSONResponse(address)

    def _secrets(self, method: str, body: dict[str, Any]) -> Response:
        known = self._state.secrets
        if method != "GET":
            for name, value in dict(body.get("values") or {}).items():
                if value is None:
                    known.pop(name, None)
                elif name not in known or known[name].value != value:
                    known[name] = Secret(str(value), stamp())
            self._state.secrets_version += 1
        shown = [
            {"name": name, "digest": secret.digest, "created_at": secret.updated, "updated_at": secret.updated}
            for name, secret in sorted(known.items())
        ]
        return JSONResponse({"secrets": shown, "version": self._state.secrets_version})

    async def _create(self, body: dict[str, Any]) -> Response:
        release = await self._release(body["config"])
        machine = await self._fleet.create(release)
        self._state.configured[machine.id] = body["config"]
        shown = self.shown(machine)
        if body.get("lease_ttl"):
            lease = self._state.take_lease(machine.id, "", float(body["lease_ttl"]))
            shown["nonce"] = lease.nonce if lease else ""
        return JSONResponse(shown)

    async def _release(self, config: dict[str, Any]) -> Release:
        """What a Machine's configuration runs: its image by digest, its environment, the secrets of now."""
        env: dict[str, str | None] = {name: str(value) for name, value in (config.get("env") or {}).items()}
        for secret in self._state.secrets.values():
            secret.deployed = True
        env |= {name: secret.value for name, secret in self._state.secrets.items()}
        if not self._fleet.driver.runs_images:
            return await self._fleet.adopt(None, env)
        reference = parse_reference(str(config["image"]))
        name = f"{reference.registry}/{reference.repository}"
        manifest = self._registry.manifest(reference.repository, reference.digest or reference.tag or "latest")
        digest = digest_of(manifest[0]) if manifest else reference.digest
        return await self._fleet.adopt(f"{name}@{digest}" if digest else str(config["image"]), env)

    async def _machine(self, request: Request, machine: Machine, action: str, body: dict[str, Any]) -> Response:
        nonce, method = request.headers.get("fly-machine-lease-nonce", ""), request.method
        if action == "lease":
            return self._lease(request, machine, nonce)
        lease = self._state.lease_of(machine.id)
        if lease and lease.nonce != nonce and method != "GET" and action != "wait":
            return _error(409, f"failed_precondition: machine ID {machine.id} lease currently held by another")
        match method, action:
            case "GET", "":
                return JSONResponse(self.shown(machine))
            case "POST", "":
                return await self._update(machine, body)
            case "DELETE", "":
                await self._fleet.destroy(machine.id)
                return JSONResponse({"ok": True})
            case "GET", "wait":
                return await self._wait(request, machine)
            case "POST", "start":
                before = machine.state
                await machine.start()
                return JSONResponse({"previous_state": str(before), "migrated": False, "new_host": ""})
            case "POST", "stop":
                await machine.stop()
                return JSONResponse({"ok": True})
            case "POST", "cordon" | "uncordon":
                machine.cordoned = action == "cordon"
                self._fleet.gate.pump()
                return JSONResponse({"ok": True})
            case "GET", "ps":
                return JSONResponse(self._processes(machine))
        if action == "metadata" or action.startswith("metadata/"):
            return self._metadata(method, machine, action.removeprefix("metadata").strip("/"), body)
        return _error(404, "not implemented by the stand-in")

    def _lease(self, request: Request, machine: Machine, nonce: str) -> Response:
        if request.method == "DELETE":
            self._state.leases.pop(machine.id, None)
            return JSONResponse({"ok": True})
        if request.method == "GET":
            lease = self._state.lease_of(machine.id)
        else:
            ttl = float(request.query_params.get("ttl", LEASE_S))
            lease = self._state.take_lease(machine.id, nonce, ttl)
            if lease is None:
                message = f"machine ID {machine.id} lease currently held by another"
                answer = {"status": "error", "message": message, "code": "lease_conflict"}
                return JSONResponse({**answer, "error": f"failed_precondition: {message}"}, 409)
        if lease is None:
            return _error(404, "lease not found")
        data = {"nonce": lease.nonce, "expires_at": int(lease.expires), "owner": "developer", "version": machine.id}
        return JSONResponse({"status": "success", "data": data})

    async def _update(self, machine: Machine, body: dict[str, Any]) -> Response:
        """Another configuration: a Machine that is stopped stays so when flyctl says ``skip_launch``."""
        release = await self._release(body["config"])
        self._state.configured[machine.id] = body["config"]
        await self._fleet.replace(machine, release, launch=not body.get("skip_launch"))
        return JSONResponse(self.shown(machine))

    async def _wait(self, request: Request, machine: Machine) -> Response:
        wanted = request.query_params.getlist("state") or ["started"]
        deadline = time.monotonic() + min(float(request.query_params.get("timeout", WAIT_S)), WAIT_S)
        while str(machine.state) not in wanted:
            if time.monotonic() > deadline:
                now = f"currently {machine.state}"
                return _error(408, f"deadline_exceeded: machine failed to reach desired state, {wanted[0]}, {now}")
            await asyncio.sleep(POLL_S)
        return JSONResponse({"ok": True})

    def _processes(self, machine: Machine) -> list[dict[str, Any]]:
        listening = [{"proto": "tcp", "address": f"0.0.0.0:{machine.spec.internal_port}"}]
        process = {"pid": 1, "stime": 0, "rtime": 1, "command": "app", "directory": "/", "cpu": 0, "rss": 1}
        return [{**process, "listen_sockets": listening if machine.healthy else []}]

    def _metadata(self, method: str, machine: Machine, name: str, body: dict[str, Any]) -> Response:
        found = self._config_of(machine).setdefault("metadata", {})
        if method == "GET":
            return JSONResponse(found)
        if method == "DELETE":
            found.pop(name, None)
        else:
            found[name] = body.get("value", "")
        return Response(status_code=204)

    def _config_of(self, machine: Machine) -> dict[str, Any]:
        """The configuration as flyctl sent it; of a Machine that the stand-in itself made, as flyctl would have."""
        spec = machine.spec
        return self._state.configured.setdefault(
            machine.id,
            {
                "image": spec.image.ref,
                "env": {},
                "guest": {"cpu_kind": "shared", "cpus": spec.cpus, "memory_mb": spec.memory_mb},
                "metadata": {"fly_platform_version": "v2", "fly_process_group": spec.environment["FLY_PROCESS_GROUP"]},
            },
        )

    def shown(self, machine: Machine) -> dict[str, Any]:
        """A Machine as the API shows it. Without ``host_status`` and ``metadata`` flyctl would make another one."""
        config = self._config_of(machine)
        reference = parse_reference(str(config["image"]))
        manifest = self._registry.manifest(reference.repository, reference.digest or reference.tag or "latest")
        digest = digest_of(manifest[0]) if manifest else reference.digest or machine.spec.image.digest
        checks = machine.checks.states if machine.checks else []
        running = machine.state is State.STARTED
        return {
            "id": machine.id,
            "name": machine.id,
            "state": str(machine.state),
            "region": self._region,
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
            "events": [_event(event.type, event.time) for event in reversed(machine.life.events)][:20],
            "checks": [
                {
                    "name": check.name,
                    "status": str(check.health) if str(check.health) != "waiting" else "critical",
                    "output": check.output,
                    "updated_at": stamp(check.updated or None),
                }
                for check in checks
                if running
            ],
        }


def _event(kind: str, seconds: float) -> dict[str, Any]:
    names: dict[str, tuple[str, str]] = {"starting": ("launch", "created"), "started": ("start", "started")}
    what, status = names.get(kind, ("update", kind))
    moment = int(seconds * 1000) - (SETTLED_MS if kind in names else 0)
    return {"id": f"ev{moment}", "type": what, "status": status, "source": "flyd", "timestamp": moment}


async def _body(request: Request) -> dict[str, Any]:
    try:
        found = await request.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)
