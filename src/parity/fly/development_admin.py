"""The route ``/fly/dev`` of the admin API, and its requests to the admin API of the Modal stand-in."""

from __future__ import annotations

import httpx
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from parity.admin.app import read_object
from parity.admin.gateway import TIMEOUT
from parity.fly.development import Development, NotDeclared


async def redeploy(modal_admin_url: str) -> str:
    """Ask the Modal stand-in to deploy the functions again. Returns "" or the reason of a failure."""
    return await _ask(modal_admin_url, "POST", "/modal/deploy", None)


async def debug_functions(modal_admin_url: str, *, on: bool) -> str:
    """Make new function containers listen for a debugger, or stop that. Returns "" or the reason of a failure."""
    return await _ask(modal_admin_url, "PUT", "/modal/debug", {"on": on})


async def _ask(modal_admin_url: str, method: str, path: str, body: object) -> str:
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            answer = await client.request(method, f"{modal_admin_url}{path}", json=body)
    except httpx.HTTPError as error:
        return f"the GPU functions were not changed: the Modal stand-in does not answer: {error!r}"
    if answer.is_success:
        return ""
    try:
        why = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        why = f"{answer.status_code} {answer.text[:300]}"
    return f"the GPU functions were not changed: {why}"


def dev_routes(development: Development, wait_timeout_s: float) -> list[BaseRoute]:
    """``GET`` shows the state. ``PUT {"on": true}`` runs the working tree; ``{"on": false}`` runs the image again."""

    async def dev(request: Request) -> Response:
        if request.method == "PUT":
            wanted = await read_object(request, ("on", "debug"))
            on, debug = wanted.get("on"), wanted.get("debug", False)
            if not isinstance(on, bool) or not isinstance(debug, bool) or (debug and not on):
                raise HTTPException(
                    400, f"on={on!r}, debug={debug!r}: expected true or false, and debug only together with on"
                )
            try:
                await development.switch(on=on, timeout_s=wait_timeout_s, debug=debug)
            except NotDeclared as error:
                raise HTTPException(422, str(error)) from None
            except OSError as error:
                raise HTTPException(422, f"cannot listen on PARITY_DEBUG_PORT: {error}") from None
        return JSONResponse(await development.as_json())

    return [Route("/fly/dev", dev, methods=["GET", "PUT"])]
