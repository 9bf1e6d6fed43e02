"""The Machines API (``flaps``) for one app, on the stand-in's fleet. Shapes: superfly/fly-go, ``flaps``."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from parity.config.fly_toml import FlyConfig
from parity.config.machine_config import machine_config
from parity.fly.api.machine_config import BadConfig, Configured, configured
from parity.fly.api.registry import Registry, digest_of
from parity.fly.api.shown import machine_json
from parity.fly.api.state import LEASE_S, ApiState, Secret, parse_reference, stamp
from parity.fly.fleet import Fleet
from parity.fly.machines.driver import DriverError
from parity.fly.machines.machine import Machine
from parity.fly.machines.release import Release
from parity.fly.machines.state import State, WrongState

WAIT_S = 60.0
POLL_S = 0.05
# Variables that flyctl adds to [env] of each Machine. The stand-in sets them itself.
OWN_VARIABLES = ("FLY_PROCESS_GROUP", "PRIMARY_REGION")


class MachinesApi:
    """``/v1/apps…``. There is one app, that of ``base``, the stand-in's fly.toml."""

    def __init__(self, base: FlyConfig, fleet: Fleet, state: ApiState, registry: Registry) -> None:
        self._base, self._fleet, self._state, self._registry = base, fleet, state, registry
        self._app, self._region = base.app, base.primary_region
        self._candidate: Release | None = None
        self._runs: dict[str, Release] = {}  # Machine → the last release that this API gave it
        self._configured: dict[str, Configured] = {}
        self._versions: dict[str, str] = {}  # Machine → the Machine version that its configuration belongs to

    async def handle(self, request: Request) -> Response:
        try:
            answer = await self._handle(request)
            if request.method not in ("GET", "HEAD"):
                self._state.save()
            return answer
        except BadConfig as error:
            return _error(400, str(error))
        except DriverError as error:
            return _error(400, f"invalid_argument: {error}")
        except WrongState as error:
            return _error(412, f"failed_precondition: {error}")

    async def _handle(self, request: Request) -> Response:
        parts = request.path_params["path"].strip("/").split("/")
        method = request.method
        body = await _body(request)
        if parts == ["platform", "regions"]:
            region = {"code": self._region, "name": self._region, "gateway_available": True}
            return JSONResponse({"Regions": [region], "Nearest": self._region})
        if parts == ["platform", "placements"]:
            placement = {"Region": self._region, "Count": int(body.get("count") or 1), "Concurrency": 1}
            return JSONResponse({"Regions": [placement]})
        if parts[0] != "apps":
            return self._missing(request)
        if len(parts) == 1:
            return self._apps(method, body)
        if parts[1] != self._app or not self._state.exists:
            return _error(404, "app not found")
        match parts[2:]:
            case [] if method == "GET":
                return JSONResponse(self._shown_app())
            case [] if method == "DELETE":
                return await self._destroy_app()
            case ["ip_assignments", *_] if len(parts) < 5:
                return self._addresses(method, "".join(parts[3:]), body)
            case ["secrets"]:
                return self._secrets(method, body)
            case ["secrets", name]:
                return self._secret(method, name, body)
            case ["volumes", *_] if len(parts) < 5:
                return self._volumes(method, "".join(parts[3:]), body)
            case ["machines"] if method == "GET":
                return JSONResponse([self.shown(machine) for machine in self._all()])
            case ["machines"]:
                return await self._create(body)
            case ["machines", machine_id, *action]:
                machine = self._find(machine_id)
                if machine is None:
                    return _error(404, "machine not found")
                return await self._machine(request, machine, "/".join(action), body)
        return self._missing(request)

    def _missing(self, request: Request) -> Response:
        what = f"{request.method} {request.url.path}"
        self._state.lack(what)
        return _error(404, f"{what} is not implemented by the stand-in")

    def _all(self) -> list[Machine]:
        return [*self._fleet.machines.values(), *self._fleet.workers.machines.values()]

    def _find(self, machine_id: str) -> Machine | None:
        workers = self._fleet.workers
        return self._fleet.machines.get(machine_id) or workers.machines.get(machine_id) or workers.gone.get(machine_id)

    def _apps(self, method: str, body: dict[str, Any]) -> Response:
        if method == "GET":
            apps = [self._shown_app()] if self._state.exists else []
            return JSONResponse({"total_apps": len(apps), "apps": apps})
        name = body.get("name")
        if name == self._app and not self._state.exists:
            self._state.exists = True
            return JSONResponse(self._shown_app(), 201)
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
            "machine_count": len(self._all()),
            "volume_count": len(self._state.volumes),
            "organization": {"name": "Parity", "slug": "parity", "internal_numeric_id": 1},
            "cname_target": f"{self._app}.fly.dev",
            "app_role": "",
        }

    def _addresses(self, method: str, ip: str, body: dict[str, Any]) -> Response:
        known = self._state.addresses
        if method == "GET":
            return JSONResponse({"ips": known})
        if method == "DELETE":
            left = [one for one in known if one["ip"] != ip]
            if len(left) == len(known):
                return _error(404, f"IP address {ip} not found")
            self._state.addresses = left
            return JSONResponse({})
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

    def _volumes(self, method: str, volume_id: str, body: dict[str, Any]) -> Response:
        """Volumes. flyctl creates one per mount before it creates the Machine (superfly/fly-go, flaps_volumes.go)."""
        known = self._state.volumes
        if not volume_id and method == "GET":
            return JSONResponse(known)
        if not volume_id:
            name, region = str(body.get("name", "")), str(body.get("region") or self._region)
            return JSONResponse(self._state.add_volume(name, region, int(body.get("size_gb") or 1)))
        found = next((volume for volume in known if volume["id"] == volume_id), None)
        if found is None:
            return _error(404, "volume not found")
        if method == "DELETE":
            known.remove(found)
        return JSONResponse(found)

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

    def _secret(self, method: str, name: str, body: dict[str, Any]) -> Response:
        """One secret (superfly/fly-go, flaps/flaps_secrets.go); its value is never shown, as on Fly."""
        if method != "POST" and name not in self._state.secrets:
            return _error(404, f"secret {name} not found")
        if method != "GET":
            self._secrets(method, {"values": {name: None if method == "DELETE" else str(body.get("value", ""))}})
        shown: dict[str, Any] = {"version": self._state.secrets_version}
        if secret := self._state.secrets.get(name):
            times = {"created_at": secret.updated, "updated_at": secret.updated}
            shown = {**shown, "name": name, "digest": secret.digest, **times}
        return JSONResponse(shown)

    async def _destroy_app(self) -> Response:
        """Destroy the app with its Machines and secrets. The data of its volumes stay."""
        for machine in self._all():
            await self._destroy(machine)
        self._state.secrets.clear()
        self._state.releases.clear()
        self._state.exists = False
        return JSONResponse({}, 202)

    async def _create(self, body: dict[str, Any]) -> Response:
        wanted = configured(body["config"], self._base)
        release = await self._release(body["config"], wanted)
        launch = not body.get("skip_launch")
        if wanted.group == self._base.group:
            cordoned = bool(body.get("skip_service_registration"))
            machine = await self._fleet.create(release, config=wanted.config, launch=launch, cordoned=cordoned)
        else:
            machine = await self._fleet.workers.create(
                wanted.config, release, launch=launch, auto_destroy=wanted.auto_destroy
            )
        self._gave(machine, body["config"], wanted, release)
        shown = self.shown(machine)
        if body.get("lease_ttl"):
            lease = self._state.take_lease(machine.id, "", float(body["lease_ttl"]))
            shown["nonce"] = lease.nonce if lease else ""
        return JSONResponse(shown)

    async def _update(self, machine: Machine, body: dict[str, Any]) -> Response:
        """Give a Machine another configuration. A stopped Machine stays stopped if flyctl sends ``skip_launch``."""
        wanted = configured(body["config"], self._base)
        release = await self._release(body["config"], wanted)
        launch = not body.get("skip_launch")
        if machine.id in self._fleet.machines:
            await self._fleet.replace(machine, release, launch=launch, config=wanted.config)
        else:
            await self._fleet.workers.update(machine, wanted.config, release, launch=launch)
        self._gave(machine, body["config"], wanted, release)
        return JSONResponse(self.shown(machine))

    async def _destroy(self, machine: Machine) -> None:
        if machine.id in self._fleet.machines:
            await self._fleet.destroy(machine.id)
            self._fleet.workers.remember(machine)
        elif machine.id in self._fleet.workers.machines:
            await self._fleet.workers.destroy(machine.id)
        self._state.detach(machine.id)
        self._adopt()

    def _gave(self, machine: Machine, sent: dict[str, Any], wanted: Configured, release: Release) -> None:
        self._state.configured[machine.id] = sent
        self._state.attach(sent, machine.id)
        self._runs[machine.id], self._configured[machine.id] = release, wanted
        self._versions[machine.id] = _version(machine)
        self._adopt()

    def _adopt(self) -> None:
        """Make a release current once every Machine that serves runs it. Before that its deploy runs or failed."""
        found = {id(self._runs.get(name)) for name in self._fleet.machines}
        release = next((self._runs.get(name) for name in self._fleet.machines), None)
        if len(found) == 1 and release is not None:
            self._fleet.adopt(release)

    async def _release(self, config: dict[str, Any], wanted: Configured) -> Release:
        """The release of a Machine's configuration: its image by digest, its environment and the current secrets."""
        for secret in self._state.secrets.values():
            secret.deployed = True
        env = self._environment(wanted)
        image = self._image(config) if self._fleet.driver.runs_images else None
        now = self._candidate
        if now is None or (now.image, now.env) != (image, env):
            now = await self._fleet.candidate(image, env)
        if not wanted.one_command:
            self._candidate = now
        return now

    def _environment(self, wanted: Configured) -> dict[str, str | None]:
        """Changes to the configured environment. Names that this deploy no longer has are removed; the declared
        differences of the stand-in stay."""
        env: dict[str, str | None] = dict.fromkeys((*self._base.env, *self._state.first_secrets))
        env |= {name: value for name, value in wanted.env.items() if name not in OWN_VARIABLES}
        env |= {name: secret.value for name, secret in self._state.secrets.items()}
        return {name: value for name, value in env.items() if name not in self._state.differences}

    def _image(self, config: dict[str, Any]) -> str:
        reference = parse_reference(str(config["image"]))
        digest = self._digest(str(config["image"]))
        return f"{reference.registry}/{reference.repository}@{digest}" if digest else str(config["image"])

    def _digest(self, image: str) -> str:
        """The digest of an image reference in the registry; if it is not there, the digest in the reference."""
        reference = parse_reference(image)
        manifest = self._registry.manifest(reference.repository, reference.digest or reference.tag or "latest")
        return digest_of(manifest[0]) if manifest else reference.digest

    async def _machine(self, request: Request, machine: Machine, action: str, body: dict[str, Any]) -> Response:
        nonce, method = request.headers.get("fly-machine-lease-nonce", ""), request.method
        if action == "lease":
            return self._lease(request, machine, nonce)
        if action == "metadata" or action.startswith("metadata/"):
            # flyctl tags leased Machines in this way, without the lease's nonce.
            return self._metadata(method, machine, action.removeprefix("metadata").strip("/"), body)
        lease = self._state.lease_of(machine.id)
        if lease and lease.nonce != nonce and method != "GET" and action != "uncordon":
            return _error(409, f"failed_precondition: machine ID {machine.id} lease currently held by another")
        match method, action:
            case "GET", "":
                return JSONResponse(self.shown(machine))
            case "POST", "":
                return await self._update(machine, body)
            case "DELETE", "":
                self._state.leases.pop(machine.id, None)
                await self._destroy(machine)
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
            case "POST", "suspend":
                await machine.suspend()
                return JSONResponse({"ok": True})
            case "POST", "restart":
                await machine.stop()
                await machine.start()
                return JSONResponse({"ok": True})
            case "POST", "cordon" | "uncordon":
                machine.cordoned = action == "cordon"
                self._fleet.gate.pump()
                return JSONResponse({"ok": True})
            case "GET", "ps":
                return JSONResponse(self._processes(machine))
        return self._missing(request)

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

    async def _wait(self, request: Request, machine: Machine) -> Response:
        wanted = request.query_params.getlist("state") or ["started"]
        deadline = time.monotonic() + min(float(request.query_params.get("timeout", WAIT_S)), WAIT_S)
        while _state(machine) not in wanted:
            if machine.state is State.DESTROYED:
                return _error(404, "machine not found")
            if time.monotonic() > deadline:
                now = f"currently {_state(machine)}"
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
        """The configuration that flyctl sent, or would send for a Machine that the stand-in created."""
        serves = machine.id in self._fleet.machines
        known = self._state.configured.get(machine.id)
        if known is not None and self._versions.get(machine.id) != _version(machine):
            # A release of the admin API or of Compose replaced it, so it does not run flyctl's configuration.
            self._runs.pop(machine.id, None)
            self._configured.pop(machine.id, None)
            self._state.detach(machine.id)
            known = None
        if known is None:
            self._versions[machine.id] = _version(machine)
            known = machine_config(machine.config, machine.spec.image.ref, self._fleet.root, serves=serves)
            known["metadata"] |= self._release_metadata()
            for mount in known.get("mounts", []):  # as flyctl does: a volume for each mount
                mount["volume"] = self._state.free_volume(mount["name"], self._region)["id"]
                self._state.attach(known, machine.id)
            self._state.attach(known, machine.id)
            self._state.configured[machine.id] = known
        return known

    def _release_metadata(self) -> dict[str, str]:
        """The release of a Machine that flyctl did not create; ``secrets list`` needs it."""
        complete = [release for release in self._state.releases if release["status"] == "complete"]
        return {
            name: str(release[key])
            for release in complete[-1:]
            for name, key in (("fly_release_id", "id"), ("fly_release_version", "version"))
        }

    def shown(self, machine: Machine) -> dict[str, Any]:
        """A Machine as the API shows it."""
        config = self._config_of(machine)
        wanted = self._configured.get(machine.id)
        digest = self._digest(str(config["image"])) or machine.spec.image.digest
        return machine_json(machine, config, digest, self._region, wanted.ignored if wanted else ())


def _version(machine: Machine) -> str:
    return machine.spec.environment["FLY_MACHINE_VERSION"]


def _state(machine: Machine) -> str:
    """The state in Fly's terms: a Machine that was created without a launch is stopped."""
    return str(State.STOPPED if machine.state is State.CREATED else machine.state)


async def _body(request: Request) -> dict[str, Any]:
    try:
        found = await request.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)
