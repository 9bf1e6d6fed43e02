"""GraphQL, releases, builds and logs, and the routes of the whole API. One port may serve all of it.

Queries: superfly/fly-go, ``resource_*.go``, and superfly/flyctl, ``gql``. Unknown fields
are null, unknown calls are refused as not implemented; both are counted in ``/fly/api-gaps``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from parity.config.fly_toml import FlyConfig
from parity.fly.api.graphql import QueryError, answer, parse
from parity.fly.api.machines import MachinesApi
from parity.fly.api.registry import Registry, digest_of
from parity.fly.api.state import ApiState, parse_reference, stamp
from parity.fly.fleet import Fleet
from parity.fly.machines.machine import Machine
from parity.fly.machines.state import State

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]
LOG_LINES = 100
ORGANIZATION: dict[str, Any] = {
    "id": "ORG1",
    "internal_numeric_id": 1,
    "internalNumericId": "1",
    "slug": "parity",
    "raw_slug": "parity",
    "rawSlug": "parity",
    "name": "Parity",
    "type": "SHARED",
    "viewerRole": "admin",
    "paid_plan": True,
    "paidPlan": True,
    "personal": False,
    "billing_status": "CURRENT",
    "billingStatus": "CURRENT",
    "billable": True,
    "provisions_beta_extensions": False,
    "provisionsBetaExtensions": False,
    "addOnSsoLink": None,
    "remote_builder_image": "",
    "remoteBuilderImage": "",
}


def api_routes(
    config: FlyConfig,
    fleet: Fleet,
    state_dir: Path,
    secrets: dict[str, str],
    differences: Mapping[str, str] | None = None,
    definition: Mapping[str, Any] | None = None,
) -> list[BaseRoute]:
    """Routes of Fly's API, for a fleet that is open. ``secrets`` are those that Machines have already.

    ``differences`` are variables that the stand-in sets, whatever a deploy says; ``definition`` is what fly.toml says.
    """
    state = ApiState.opened(secrets, frozenset(differences or ()), state_dir / "fly-api.json", fleet.driver.owner)
    if fleet.machines:
        state.begin(fleet.release.resolved.ref, dict(definition) if definition else None)
    registry = Registry(state_dir / "registry")
    machines = MachinesApi(config, fleet, state, registry)
    web = WebApi(config, fleet, state, registry)
    return [
        Route("/fly/api-gaps", web.gaps),
        Route("/v2/{path:path}", registry.handle, methods=METHODS),
        Route("/v1/{path:path}", machines.handle, methods=METHODS),
        Route("/graphql", web.graphql, methods=["POST"]),
        Route("/api/v1/apps/{app}/logs", web.logs),
        Route("/api/v1/organizations", web.organizations),
        Route("/api/v1/organizations/{slug}", web.organization),
        Route("/api/v1/builds", web.begin_build, methods=["POST"]),
        Route("/api/v1/builds/finish", web.finish_build, methods=["POST"]),
        Route("/api/v1/releases", web.create_release, methods=["POST"]),
        Route("/api/v1/releases/all_current", web.current_releases),
        Route("/api/v1/releases/{id}", web.update_release, methods=["PATCH"]),
        Route("/api/v1/apps/{app}/releases", web.releases),
        Route("/api/v1/apps/{app}/releases/current", web.current_release),
        Route("/api/v1/{path:path}", web.missing, methods=METHODS),
    ]


class WebApi:
    """The calls of flyctl to Fly's web API, for one app."""

    def __init__(self, config: FlyConfig, fleet: Fleet, state: ApiState, registry: Registry) -> None:
        self._config, self._fleet, self._state, self._registry = config, fleet, state, registry

    async def organizations(self, _request: Request) -> Response:
        return JSONResponse({"organizations": [ORGANIZATION]})

    async def organization(self, _request: Request) -> Response:
        return JSONResponse({"organization": ORGANIZATION})

    async def begin_build(self, _request: Request) -> Response:
        self._state.builds += 1
        return JSONResponse({"id": self._state.builds, "status": "started", "wallclock_time_ms": 0})

    async def finish_build(self, request: Request) -> Response:
        body = await request.json()
        return JSONResponse({"id": body["build_id"], "status": body["status"], "wallclock_time_ms": 1})

    async def create_release(self, request: Request) -> Response:
        body = await request.json()
        if body.get("app_name") != self._config.app:
            return JSONResponse({"error": "app not found"}, 404)
        release = self._state.add_release(str(body["image"]), str(body.get("strategy", "")), body.get("definition"))
        self._state.save()
        return JSONResponse({"release": release}, 201)

    async def update_release(self, request: Request) -> Response:
        body = await request.json()
        for release in self._state.releases:
            if release["id"] == request.path_params["id"]:
                self._state.set_status(release, str(body["status"]))
                self._state.save()
                return JSONResponse(release)
        return JSONResponse({"error": "release not found"}, 404)

    async def releases(self, request: Request) -> Response:
        if not self._is_app(request):
            return JSONResponse({"error": "app not found"}, 404)
        limit = int(request.query_params.get("limit", "25"))
        return JSONResponse({"releases": self._state.releases[::-1][:limit]})

    async def current_releases(self, _request: Request) -> Response:
        """The last release of each app, for ``apps list`` (superfly/flyctl, internal/uiex/releases.go)."""
        releases = self._state.releases
        return JSONResponse({self._config.app: releases[-1]["created_at"]} if releases else {})

    async def current_release(self, request: Request) -> Response:
        newest = self._state.releases[-1:] if self._is_app(request) else []
        return JSONResponse(newest[0]) if newest else JSONResponse({"error": "there is no release"}, 404)

    def _is_app(self, request: Request) -> bool:
        return bool(request.path_params["app"] == self._config.app) and self._state.exists

    async def missing(self, request: Request) -> Response:
        """The response to a call that is not implemented."""
        what = f"{request.method} {request.url.path}"
        self._state.lack(what)
        return JSONResponse({"error": f"{what} is not implemented by the stand-in"}, 404)

    async def logs(self, request: Request) -> Response:
        """Log lines of all Machines, or of ``instance``. The token has the number of lines read of each Machine."""
        if not self._is_app(request):
            return JSONResponse({"error": "app not found"}, 404)
        query = request.query_params
        seen = _token(query.get("next_token", ""))
        workers = self._fleet.workers
        machines = [*self._fleet.machines.values(), *workers.machines.values(), *workers.gone.values()]
        lines: list[dict[str, Any]] = []
        for machine in machines:
            if query.get("instance") not in (None, "", machine.id):
                continue
            found = [*await self._fleet.driver.logs(machine.id, LOG_LINES), *_ending(machine)]
            for number, text in list(enumerate(found))[seen.get(machine.id, 0) :]:
                where = {"instance": machine.id, "region": self._config.primary_region}
                attributes = {
                    "timestamp": stamp(),
                    "message": text,
                    "level": "info",
                    **where,
                    "meta": {**where, "event": {"provider": "app"}},
                }
                lines.append({"id": f"{machine.id}-{number}", "type": "log", "attributes": attributes})
            seen[machine.id] = len(found)
        return JSONResponse(
            {"data": lines, "meta": {"next_token": ",".join(f"{name}.{n}" for name, n in seen.items())}}
        )

    async def gaps(self, _request: Request) -> Response:
        """The calls that are not implemented, with their counts."""
        return JSONResponse(dict(self._state.lacking.most_common()))

    async def graphql(self, request: Request) -> Response:
        body = await request.json()
        variables = body.get("variables") or {}
        try:
            document = parse(str(body["query"]))
            data = answer(document, variables, self._tree(), self._state.lack)
        except QueryError as error:
            if not error.code:
                self._state.lack(str(error).removesuffix(" is not implemented by the stand-in"))
            return JSONResponse(error.as_json())
        return JSONResponse({"data": data})

    def _tree(self) -> dict[str, Any]:
        """The root fields of queries."""
        page = {"hasNextPage": False, "endCursor": ""}
        code = self._config.primary_region
        region = {"code": code, "name": code, "gatewayAvailable": True, "latitude": 0, "longitude": 0}
        viewer = {"__typename": "User", "id": "u1", "email": "developer@parity.test", "name": "Developer"}
        organizations = {"nodes": [ORGANIZATION], "pageInfo": page}
        return {
            "app": self._app_named,
            "apps": {"pageInfo": page, "nodes": [self._app()] if self._state.exists else []},
            "canPerformBluegreenDeployment": True,
            "currentUser": viewer,
            "latestImageDetails": _no_repository,
            "organization": ORGANIZATION,
            "organizations": organizations,
            "personalOrganization": ORGANIZATION,
            "platform": {"requestRegion": code, "regions": [region], "vmSizes": []},
            "nearestRegion": region,
            "user": viewer,
            "viewer": {**viewer, "organizations": organizations, "personalOrganization": ORGANIZATION},
        }

    def _app_named(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        name = arguments.get("name") or arguments.get("id") or arguments.get("internalId")
        if name != self._config.app or not self._state.exists:
            raise QueryError("Could not find App", "NOT_FOUND")
        return self._app()

    def _image(self, text: str) -> dict[str, Any] | None:
        """An image that the registry holds; flyctl deploys ``ref`` and never compares the digest."""
        try:
            reference = parse_reference(text)
        except ValueError:
            return None
        found = self._registry.manifest(reference.repository, reference.digest or reference.tag or "latest")
        if found is None:
            return None
        manifest, digest = json.loads(found[0]), digest_of(found[0])
        size = str(sum(int(layer["size"]) for layer in manifest.get("layers", [])))
        return {
            "id": f"img_{digest[7:15]}",
            "digest": digest,
            "ref": text,
            "compressedSize": size,
            "compressedSizeFull": size,
            "configSize": "1",
            "config": {},
            "label": reference.tag,
            "tag": reference.tag,
        }

    def _app(self) -> dict[str, Any]:
        name, releases = self._config.app, self._state.releases
        nodes: list[dict[str, Any]] = [
            {
                "id": release["id"],
                "version": release["version"],
                "description": "Deploy image",
                "reason": "",
                "status": release["status"],
                "imageRef": release["image_ref"],
                "deploymentStrategy": release["strategy"],
                "evaluationId": "",
                "inProgress": release["in_progress"],
                "metadata": None,
                "stable": True,
                "user": {"id": "u1", "email": release["user"], "name": "Developer"},
                "createdAt": release["created_at"],
            }
            for release in reversed(releases)
        ]
        newest = nodes[0] if nodes else None
        definition = self._state.definitions.get(str(newest["id"])) if newest else None
        deployed = bool(self._fleet.machines)
        return {
            "id": name,
            "internalNumericId": 1,
            "name": name,
            "hostname": f"{name}.fly.dev",
            "deployed": deployed,
            "status": "deployed" if deployed else "pending",
            "version": len(releases),
            "appUrl": f"https://{name}.fly.dev",
            "platformVersion": "machines",
            "networkId": None,
            "network": "default",
            "cnameTarget": f"{name}.fly.dev",
            "role": None,
            "postgresAppRole": None,
            "organization": ORGANIZATION,
            "currentRelease": newest,
            "releases": lambda given: {"nodes": nodes[: given.get("first") or given.get("limit") or None]},
            "releasesUnprocessed": lambda given: {"nodes": nodes[: given.get("first") or given.get("limit") or None]},
            "image": lambda given: self._image(str(given.get("ref") or "")),
            "machines": {"nodes": [{"id": machine, "name": machine} for machine in self._fleet.machines]},
            "secrets": [{"name": name, "digest": one.digest} for name, one in sorted(self._state.secrets.items())],
            # flyctl panics on an empty definition, so it is null until there is one.
            "currentReleaseUnprocessed": {**newest, "configDefinition": definition or None} if newest else None,
            "ipAddresses": {
                "nodes": [
                    {"id": one["ip"], "address": one["ip"], "type": "shared_v4" if one["shared"] else "v6"}
                    for one in self._state.addresses
                ]
            },
            "egressIpAddresses": {"nodes": []},
            "sharedIpAddress": next((one["ip"] for one in self._state.addresses if one["shared"]), None),
            "services": [],
        }


def _no_repository(_arguments: Mapping[str, Any]) -> None:
    raise QueryError("Unknown repository", "NOT_FOUND")


def _ending(machine: Machine) -> list[str]:
    """The last log line of Fly's init in a Machine that runs one command.

    flyctl waits up to 20 s for this line after a release command that failed (superfly/flyctl,
    internal/command/deploy/machines_releasecommand.go).
    """
    ended = [event for event in machine.life.events if event.type == "stopped"]
    if not (machine.spec.once and ended and machine.state in (State.STOPPED, State.DESTROYED)):
        return []
    return [f" INFO Main child exited normally with code: {ended[-1].detail.get('exit_code', 0)}"]


def _token(text: str) -> dict[str, int]:
    """The number of lines read of each Machine; empty for a token of another server."""
    parts = [part.rpartition(".") for part in text.split(",")]
    return {name: int(number) for name, _, number in parts if name and number.isdigit()}
