"""The admin API of the Fly stand-in. Its routes are listed in ``docs/architecture.md``.

The admin APIs of the R2 and Modal stand-ins are reached through the same port (``extra_routes``).
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from parity.admin.app import http_exception_as_problem, problem, read_object
from parity.fly.edge.context import EdgeContext
from parity.fly.fleet import Fleet
from parity.fly.interposer import BadWrap, Interposer, parse_wraps
from parity.fly.machines.cpu import CpuMode
from parity.fly.machines.driver import DriverError
from parity.fly.machines.machine import Machine
from parity.fly.machines.release import ReleaseFailed
from parity.fly.machines.state import WrongState
from parity.fly.rollout import STRATEGIES

LOG_LINES = 1000


@dataclass(frozen=True)
class AdminParts:
    """The objects that the API shows and controls.

    ``wait_timeout_s`` is how long a release waits for healthy Machines when the request does not say.
    """

    fleet: Fleet
    edge: EdgeContext
    wait_timeout_s: float
    urls: dict[str, str]
    interposer: Interposer = field(default_factory=Interposer)


def admin_app(parts: AdminParts, extra_routes: list[BaseRoute]) -> Starlette:
    """The whole admin application."""
    fleet = parts.fleet

    def machine_of(request: Request) -> Machine:
        machine_id = request.path_params["id"]
        try:
            return fleet.get(machine_id)
        except KeyError:
            known = ", ".join(fleet.machines) or "none"
            raise HTTPException(404, f"there is no Machine {machine_id}; known: {known}") from None

    async def index(_request: Request) -> Response:
        return HTMLResponse(index_page(fleet, parts.urls))

    async def healthz(_request: Request) -> Response:
        if fleet.ready:
            return JSONResponse({"status": "ok"})
        return problem(503, "No Machine passes its checks", f"{len(fleet.machines)} Machine(s)")

    async def machines(_request: Request) -> Response:
        return JSONResponse([machine.as_json() for machine in fleet.machines.values()])

    async def create(request: Request) -> Response:
        pooled = (await read_object(request, ("pooled",))).get("pooled", True)
        if not isinstance(pooled, bool):
            raise HTTPException(400, f"pooled={pooled!r}: expected true or false")
        return JSONResponse((await fleet.create(pooled=pooled)).as_json(), 201)

    async def act(request: Request) -> Response:
        machine, action = machine_of(request), request.path_params["action"]
        actions: dict[str, Callable[[], Awaitable[None]]] = {
            "start": machine.start,
            "stop": machine.stop,
            "suspend": machine.suspend,
            "resume": machine.start,
            "kill": machine.kill,
            "destroy": lambda: fleet.destroy(machine.id),
        }
        if action not in actions:
            raise HTTPException(404, f"there is no action {action}; known: {', '.join(actions)}")
        await actions[action]()
        return JSONResponse(machine.as_json())

    async def one(request: Request) -> Response:
        return JSONResponse(machine_of(request).as_json())

    async def logs(request: Request) -> Response:
        tail = request.query_params.get("tail", str(LOG_LINES))
        if not tail.isdigit():
            raise HTTPException(400, f"tail={tail!r}: expected a number of lines")
        return JSONResponse({"lines": await fleet.driver.logs(machine_of(request).id, int(tail))})

    async def requests(request: Request) -> Response:
        if request.method == "DELETE":
            parts.edge.log.clear()
            return Response(status_code=204)
        return JSONResponse([entry.as_json() for entry in parts.edge.log.entries()])

    async def replay_cache(request: Request) -> Response:
        if request.method == "DELETE":
            parts.edge.replay_cache.clear()
            return Response(status_code=204)
        return JSONResponse(parts.edge.replay_cache.as_json())

    async def groups(_request: Request) -> Response:
        return JSONResponse(fleet.workers.as_json())

    async def release(_request: Request) -> Response:
        newer = await fleet.newer_build()
        return JSONResponse({**fleet.release.as_json(), "newer_build": asdict(newer) if newer else None})

    async def cpu(request: Request) -> Response:
        if request.method == "PUT":
            mode = (await read_object(request, ("mode",))).get("mode")
            if mode not in list(CpuMode):
                raise HTTPException(400, f"mode={mode!r}: expected one of {', '.join(CpuMode)}")
            await fleet.set_cpu(CpuMode(str(mode)))
        elif request.method == "DELETE":
            await fleet.set_cpu(fleet.configured_cpu)
        return JSONResponse({"mode": str(fleet.cpu_mode)})

    async def images(request: Request) -> Response:
        since = request.query_params.get("since", "0")
        try:
            found = fleet.images.ran_since(float(since))
        except ValueError:
            raise HTTPException(400, f"since={since!r}: expected Unix seconds") from None
        return JSONResponse({"checkout": fleet.driver.checkout, "images": [asdict(image) for image in found]})

    async def deploy(request: Request) -> Response:
        wanted = await read_object(request, ("image", "source", "env", "wait", "strategy"))
        strategy = wanted.get("strategy")
        if strategy not in (None, *STRATEGIES):
            raise HTTPException(400, f"strategy={strategy!r}: expected one of {', '.join(STRATEGIES)}")
        image, source, env, wait = release_fields(wanted)
        seconds = parts.wait_timeout_s if isinstance(wait, bool) else wait
        done = await fleet.deploy(
            image,
            source,
            env,
            wait=wait is not False,
            timeout_s=seconds,
            strategy=None if strategy is None else str(strategy),
        )
        return JSONResponse(done.as_json(), 201)

    async def interposer(request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse(
                {"wraps": [{"name": wrap.name, "settings": wrap.settings} for wrap in parts.interposer.wraps]}
            )
        try:
            wraps = parse_wraps((await read_object(request, ("wraps",))).get("wraps", []))
        except BadWrap as error:
            raise HTTPException(400, str(error)) from None
        await parts.interposer.set([] if request.method == "DELETE" else wraps)
        for machine in fleet.machines:  # a pooled connection would bypass the new wraps
            parts.edge.pool.close(machine)
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/fly/healthz", healthz),
            Route("/fly/machines", machines),
            Route("/fly/machines", create, methods=["POST"]),
            Route("/fly/machines/{id}", one),
            Route("/fly/machines/{id}/logs", logs),
            Route("/fly/machines/{id}/{action}", act, methods=["POST"]),
            Route("/fly/requests", requests, methods=["GET", "DELETE"]),
            Route("/fly/replay-cache", replay_cache, methods=["GET", "DELETE"]),
            Route("/fly/interposer", interposer, methods=["GET", "PUT", "DELETE"]),
            Route("/fly/images", images),
            Route("/fly/cpu", cpu, methods=["GET", "PUT", "DELETE"]),
            Route("/fly/groups", groups),
            Route("/fly/release", release),
            Route("/fly/releases", deploy, methods=["POST"]),
            *extra_routes,
        ],
        exception_handlers={
            HTTPException: http_exception_as_problem,
            WrongState: _answer(409, "Not possible in this state"),
            DriverError: _answer(422, "The Machine cannot be run"),
            ReleaseFailed: _answer(504, "The release is not healthy"),
        },
    )


def _answer(status: int, title: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handler(_request: Request, error: Exception) -> Response:
        return problem(status, title, str(error))

    return handler


def release_fields(
    wanted: dict[str, object],
) -> tuple[str | None, Path | None, dict[str, str | None], bool | float]:
    """Read image, source, environment and wait from the body of ``POST /fly/releases``.

    ``wait`` is true (the default) to wait as long as fly.toml says, a number of seconds, or false to return at once.
    Raises ``HTTPException`` 400 that names the wrong field.
    """
    image, source = wanted.get("image"), wanted.get("source")
    env, wait = {} if wanted.get("env") is None else wanted["env"], wanted.get("wait", True)
    if image is not None and not isinstance(image, str):
        raise HTTPException(400, "image: expected a string such as app:tag")
    if source is not None and not isinstance(source, str):
        raise HTTPException(400, "source: expected the path of a folder, as a string")
    if image is not None and source is not None:
        raise HTTPException(400, "image, source: give only one of them")
    if not isinstance(env, dict) or not all(value is None or isinstance(value, str) for value in env.values()):
        raise HTTPException(400, "env: expected an object whose values are strings; null removes a variable")
    if isinstance(wait, bool):
        return image, Path(source) if source else None, env, wait
    if isinstance(wait, int | float) and wait > 0:
        return image, Path(source) if source else None, env, float(wait)
    raise HTTPException(400, "wait: expected true, false or a number of seconds above 0")


def index_page(fleet: Fleet, urls: dict[str, str]) -> str:
    """The HTML start page: the addresses of the stack, its Machines, and links to the most useful routes."""
    links = "".join(
        f'<li>{html.escape(name)}: <a href="{html.escape(url)}">{html.escape(url)}</a></li>'
        for name, url in urls.items()
    )
    rows = "".join(
        f"<tr><td>{machine.id}</td><td>{machine.state}</td><td>{'yes' if machine.healthy else 'no'}</td>"
        f'<td><a href="/fly/machines/{machine.id}/logs">logs</a></td></tr>'
        for machine in fleet.machines.values()
    )
    more = "".join(
        f'<li><a href="{path}">{path}</a></li>'
        for path in ("/fly/machines", "/fly/requests", "/fly/release", "/r2/objects", "/r2/requests", "/modal/calls")
    )
    return (
        "<!doctype html><meta charset=utf-8><title>parity</title><h1>Stand-ins</h1>"
        f"<ul>{links}</ul><table><tr><th>Machine<th>state<th>healthy<th></tr>{rows}</table><ul>{more}</ul>"
    )
