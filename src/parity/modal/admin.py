"""The admin API: deployed apps, function calls, the RPC log, and faults."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parity.admin.app import http_exception_as_problem, problem, read_object
from parity.modal.callbook import Call
from parity.modal.faults import KINDS, BadFault, Fault
from parity.modal.plane import Plane
from parity.modal.rpc import HANDLERS
from parity.modal.workers import NoWorker

_CALLS_SHOWN = 200
_FAULT_FIELDS = frozenset({"kind", "times"}).union(*(names for names, _help in KINDS.values()))


def admin_app(plane: Plane) -> Starlette:
    """Routes under ``/modal``."""

    async def healthz(_request: Request) -> Response:
        if plane.ready:
            return JSONResponse({"status": "ok"})
        missing = (
            "no worker is connected" if not plane.workers.connected else f"app {plane.config.app_name} is not deployed"
        )
        return problem(503, "Not ready", missing)

    async def apps(_request: Request) -> Response:
        return JSONResponse([_app(plane, app_id) for app_id in plane.registry.apps])

    async def deploy(_request: Request) -> Response:
        try:
            found = await plane.workers.deploy()
        except NoWorker:
            return problem(503, "Not ready", "no worker is connected")
        return problem(422, "The app cannot be deployed", found) if found else Response(status_code=204)

    async def debug(request: Request) -> Response:
        on = (await read_object(request, frozenset({"on"}))).get("on")
        if not isinstance(on, bool):
            return problem(400, "Not understood", f"'on' is {on!r}; expected true or false")
        plane.scheduler.patient = on
        plane.workers.debug(on=on)
        # Running containers keep their mode, so drain them: later calls get new containers.
        plane.scheduler.drain(list(plane.registry.functions.values()))
        return Response(status_code=204)

    async def calls(_request: Request) -> Response:
        newest = sorted(plane.calls.calls.values(), key=lambda call: call.created_at, reverse=True)
        return JSONResponse([_call(plane, call) for call in newest[:_CALLS_SHOWN]])

    async def containers(_request: Request) -> Response:
        return JSONResponse(
            [
                {"id": task.id, "function": _tag(plane, task.function_id), "inputs": list(task.running)}
                for task in plane.scheduler.tasks.values()
            ]
        )

    async def rpcs(request: Request) -> Response:
        if request.method == "DELETE":
            plane.journal.clear()
        return JSONResponse({"served": sorted(HANDLERS), **plane.journal.as_dict()})

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            return JSONResponse([fault.as_dict() for fault in plane.faults.clear(request.query_params.get("id"))])
        if request.method == "POST":
            try:
                fault = plane.faults.add(await read_object(request, _FAULT_FIELDS))
            except BadFault as error:
                return problem(400, "This fault cannot be armed", str(error))
            _fire_at_once(plane, fault)
            return JSONResponse(fault.as_dict(), 201)
        return JSONResponse([fault.as_dict() for fault in plane.faults.armed])

    return Starlette(
        routes=[
            Route("/modal/healthz", healthz),
            Route("/modal/apps", apps),
            Route("/modal/deploy", deploy, methods=["POST"]),
            Route("/modal/debug", debug, methods=["PUT"]),
            Route("/modal/calls", calls),
            Route("/modal/containers", containers),
            Route("/modal/rpcs", rpcs, methods=["GET", "DELETE"]),
            Route("/modal/faults", faults, methods=["GET", "POST", "DELETE"]),
        ],
        exception_handlers={HTTPException: http_exception_as_problem},
    )


def _fire_at_once(plane: Plane, fault: Fault) -> None:
    if fault.kind == "worker" and plane.workers.die():
        fault.times, fault.fired = 0, 1


def _app(plane: Plane, app_id: str) -> dict[str, Any]:
    app = plane.registry.apps[app_id]
    # Sorted by name: the SDK creates functions concurrently, so the order of arrival has no meaning.
    functions = [plane.registry.functions[function_id] for _, function_id in sorted(app.function_ids.items())]
    return {
        "id": app.id,
        "name": app.name,
        "deployed_at": app.deployed_at or None,
        "functions": [
            {
                "id": function.id,
                "name": function.tag,
                "timeout_s": function.definition.timeout_secs,
                "retries": function.definition.retry_policy.retries,
                "waiting": plane.scheduler.waiting(function.id),
                "containers": [t.id for t in plane.scheduler.tasks.values() if t.function_id == function.id],
            }
            for function in functions
        ],
    }


def _call(plane: Plane, call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "function": _tag(plane, call.function_id),
        "created_at": call.created_at,
        "expired": call.expired,
        "results_waiting": len(call.outputs),
        "inputs": [
            {"id": i.id, "state": i.state, "retries": i.retries, "crashes": i.crashes, "container": i.task_id}
            for i in list(call.inputs.values())[:_CALLS_SHOWN]
        ],
    }


def _tag(plane: Plane, function_id: str) -> str:
    function = plane.registry.functions.get(function_id)
    return function.tag if function else function_id
