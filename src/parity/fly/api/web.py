"""GraphQL, releases, builds and logs, and the routes of the whole API. One port may serve all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from parity.config.fly_toml import FlyConfig
from parity.fly.api.machines import MachinesApi
from parity.fly.api.registry import Registry, digest_of
from parity.fly.api.state import ApiState, Secret, parse_reference, stamp
from parity.fly.fleet import Fleet

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


def api_routes(config: FlyConfig, fleet: Fleet, state_dir: Path, secrets: dict[str, str]) -> list[BaseRoute]:
    """Routes of Fly's API. ``secrets`` are those that Machines have already."""
    state = ApiState({name: Secret(value, stamp(), deployed=True) for name, value in secrets.items()})
    registry = Registry(state_dir / "registry")
    machines = MachinesApi(config.app, config.primary_region, fleet, state, registry)
    web = WebApi(config, fleet, state, registry)
    return [
        Route("/v2/{path:path}", registry.handle, methods=METHODS),
        Route("/v1/{path:path}", machines.handle, methods=METHODS),
        Route("/graphql", web.graphql, methods=["POST"]),
        Route("/api/v1/apps/{app}/logs", web.logs),
        Route("/api/v1/organizations", web.organizations),
        Route("/api/v1/organizations/{slug}", web.organization),
        Route("/api/v1/builds", web.begin_build, methods=["POST"]),
        Route("/api/v1/builds/finish", web.finish_build, methods=["POST"]),
        Route("/api/v1/releases", web.create_release, methods=["POST"]),
        Route("/api/v1/releases/{id}", web.update_release, methods=["PATCH"]),
        Route("/api/v1/apps/{app}/releases", web.releases),
        Route("/api/v1/apps/{app}/releases/current", web.current_release),
    ]


class WebApi:
    """What flyctl asks of Fly's web servers about the one app."""

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
        return JSONResponse({"release": release}, 201)

    async def update_release(self, request: Request) -> Response:
        body = await request.json()
        for release in self._state.releases:
            if release["id"] == request.path_params["id"]:
                release["status"] = body["status"]
                release["in_progress"] = body["status"] in ("pending", "running")
                return JSONResponse(release)
        return JSONResponse({"error": "release not found"}, 404)

    async def releases(self, request: Request) -> Response:
        limit = int(request.query_params.get("limit", "25"))
        return JSONResponse({"releases": self._state.releases[::-1][:limit]})

    async def current_release(self, _request: Request) -> Response:
        newest = self._state.releases[-1:]
        return JSONResponse(newest[0]) if newest else JSONResponse({"error": "there is no release"}, 404)

    async def logs(self, request: Request) -> Response:
        """The last lines of every Machine, once: a page after that is empty."""
        lines: list[dict[str, Any]] = []
        for machine in self._fleet.machines.values() if not request.query_params.get("next_token") else ():
            for number, text in enumerate(await self._fleet.driver.logs(machine.id, LOG_LINES)):
                where = {"instance": machine.id, "region": self._config.primary_region}
                attributes = {
                    "timestamp": stamp(),
                    "message": text,
                    "level": "info",
                    **where,
                    "meta": {**where, "event": {"provider": "app"}},
                }
                lines.append({"id": f"{machine.id}-{number}", "type": "log", "attributes": attributes})
        return JSONResponse({"data": lines, "meta": {"next_token": "end"}})

    async def graphql(self, request: Request) -> Response:
        body = await request.json()
        text, variables = str(body["query"]), body.get("variables") or {}
        data = self._answer(text, variables)
        if data is None:
            name = re.search(r"\b(?:query|mutation)\b\s*(\w*)", text)
            problem = f"{name[1] if name else 'this query'} is not implemented by the stand-in"
            return JSONResponse({"data": None, "errors": [{"message": problem}]})
        asked = set(re.findall(r"\w+", text))
        return JSONResponse(_only(data, asked) if "data" in data else data)

    def _answer(self, text: str, variables: dict[str, Any]) -> dict[str, Any] | None:
        name = str(variables.get("appName") or variables.get("name") or variables.get("id") or "")
        if "canPerformBluegreenDeployment" in text:
            return {"data": {"canPerformBluegreenDeployment": True}}
        if "latestImageDetails" in text:
            return _not_found("Unknown repository")
        if re.search(r"\bimage\s*\(", text):
            reference = str(variables.get("imageRef") or variables.get("ref") or "")
            return {"data": {"app": {"id": self._config.app, "image": self._image(reference)}}}
        if re.search(r"\bviewer\b", text):
            viewer = {"__typename": "User", "id": "u1", "email": "developer@parity.test", "name": "Developer"}
            return {"data": {"viewer": viewer}}
        if re.search(r"\bapps\s*[({]", text):
            page = {"hasNextPage": False, "endCursor": ""}
            return {"data": {"apps": {"pageInfo": page, "nodes": [self._app()]}}}
        if re.search(r"\bapp\s*\(", text) or "appcompact" in text:
            if name != self._config.app:
                return _not_found("Could not find App")
            aliases = [alias for alias in ("appcompact", "appbasic") if alias in text] or ["app"]
            return {"data": {alias: self._app() for alias in aliases}}
        if "organization" in text.lower():
            found = {"organization": ORGANIZATION, "personalOrganization": ORGANIZATION}
            return {"data": {**found, "organizations": {"nodes": [ORGANIZATION]}}}
        if re.search(r"\bplatform\b", text):
            region = {"code": self._config.primary_region, "name": "here", "gatewayAvailable": True}
            platform = {"requestRegion": region["code"], "regions": [region], "vmSizes": []}
            return {"data": {"platform": platform}}
        return None

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
        nodes = [
            {
                "id": release["id"],
                "version": release["version"],
                "description": "Deploy image",
                "reason": "",
                "status": release["status"],
                "imageRef": release["image_ref"],
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
            "releases": {"nodes": nodes},
            # An empty definition makes flyctl panic: it is null until there is one.
            "currentReleaseUnprocessed": {**newest, "configDefinition": definition or None} if newest else None,
            "ipAddresses": {"nodes": []},
            "egressIpAddresses": {"nodes": []},
            "sharedIpAddress": None,
            "services": [],
        }


def _not_found(message: str) -> dict[str, Any]:
    error = {"message": message, "extensions": {"code": "NOT_FOUND"}}
    return {"data": None, "errors": [error]}


def _only(value: Any, asked: set[str]) -> Any:
    """``value`` without the fields that the query does not name, as GraphQL answers."""
    if isinstance(value, dict):
        return {
            key: inner if key == "configDefinition" else _only(inner, asked)
            for key, inner in value.items()
            if key in asked or key in ("data", "errors", "message", "extensions", "code")
        }
    return [_only(item, asked) for item in value] if isinstance(value, list) else value
