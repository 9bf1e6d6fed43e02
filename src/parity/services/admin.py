"""The admin API of services and stubs: list them, make one unreachable, restore it, or cut its connections."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from parity.services.proxy import Mode
from parity.services.running import Services
from parity.services.stubs import StubMode

ACTIONS = {
    "away": "connections are refused, open ones are cut; a stub answers 503",
    "silent": "connections are accepted and never answered; a stub takes requests and never answers them",
    "frozen": "nothing passes on any connection, and what was sent arrives afterwards",
    "back": "as it was",
    "cut": "open connections are cut, new ones work",
}


def service_routes(services: Services) -> list[BaseRoute]:
    """``GET /services``, ``POST /services/{name}/{action}``, ``GET|DELETE /services/calls`` (of the stubs)."""

    async def listed(_request: Request) -> Response:
        return JSONResponse(_all(services))

    async def act(request: Request) -> Response:
        name, action = request.path_params["name"], request.path_params["action"]
        if action not in ACTIONS:
            raise HTTPException(404, f"there is no action {action}; known: {', '.join(ACTIONS)}")
        if name in services.stubs.names():
            _stub(services, name, action)
        elif name in services.proxies:
            await _service(services, name, action)
        else:
            known = ", ".join([*services.proxies, *services.stubs.names()]) or "none"
            raise HTTPException(404, f"parity.toml declares no service or stub {name!r}; known: {known}")
        return JSONResponse(_all(services)[name])

    async def calls(request: Request) -> Response:
        if request.method == "DELETE":
            services.stubs.calls.clear()
            return Response(status_code=204)
        return JSONResponse(list(services.stubs.calls))

    return [
        Route("/services", listed),
        Route("/services/calls", calls, methods=["GET", "DELETE"]),
        Route("/services/{name}/{action}", act, methods=["POST"]),
    ]


async def _service(services: Services, name: str, action: str) -> None:
    proxy = services.proxies[name]
    if action == "cut":
        await proxy.cut()
    else:
        modes = {"away": Mode.AWAY, "silent": Mode.SILENT, "frozen": Mode.FROZEN, "back": Mode.HERE}
        await proxy.set(modes[action])


def _stub(services: Services, name: str, action: str) -> None:
    if action == "back":
        services.stubs.modes.pop(name, None)
    elif action in tuple(StubMode):
        services.stubs.modes[name] = StubMode(action)
    else:
        known = ", ".join([*StubMode, "back"])
        raise HTTPException(400, f"{name} is a stub: {action} is not possible; possible: {known}")


def _all(services: Services) -> dict[str, dict[str, object]]:
    shown: dict[str, dict[str, object]] = {
        name: {"kind": "service", "mode": str(proxy.mode), "port": proxy.port, "connections": proxy.connections,
               "accepted": proxy.accepted, "idle_s": proxy.idle_s}
        for name, proxy in services.proxies.items()
    }  # fmt: skip
    for name in services.stubs.names():
        shown[name] = {"kind": "stub", "mode": str(services.stubs.modes.get(name, "here"))}
    return shown
