"""``/fly/dev`` of the admin API; and what it asks of Modal's."""

from __future__ import annotations

import httpx
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from parity.admin.app import read_object
from parity.fly.development import Development, NotDeclared

# `modal deploy` takes a second or two; the images of functions are not built here.
DEPLOY_TIMEOUT = httpx.Timeout(120.0, connect=2.0)


async def redeploy(modal_admin_url: str) -> str:
    """Let the Modal stand-in's worker deploy the functions again; why that failed, or ""."""
    return await _ask(modal_admin_url, "POST", "/modal/deploy", None)


async def debug_functions(modal_admin_url: str, *, on: bool) -> str:
    """Let new containers of functions listen for a debugger, or no more; why that failed, or ""."""
    return await _ask(modal_admin_url, "PUT", "/modal/debug", {"on": on})


async def _ask(modal_admin_url: str, method: str, path: str, body: object) -> str:
    try:
        async with httpx.AsyncClient(timeout=DEPLOY_TIMEOUT, trust_env=False) as client:
            answer = await client.request(method, f"{modal_admin_url}{path}", json=body)
    except httpx.HTTPError as error:
        return f"the GPU functions are as they were: the Modal stand-in does not answer: {error!r}"
    if answer.is_success:
        return ""
    try:
        why = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        why = f"{answer.status_code} {answer.text[:300]}"
    return f"the GPU functions are as they were: {why}"


def dev_routes(development: Development, wait_timeout_s: float) -> list[BaseRoute]:
    """``GET`` shows it, ``PUT {"on": true}`` lets Machines run the working tree, ``{"on": false}`` the image again."""

    async def dev(request: Request) -> Response:
        if request.method == "PUT":
            wanted = await read_object(request, ("on", "debug"))
            on, debug = wanted.get("on"), wanted.get("debug", False)
            if not isinstance(on, bool) or not isinstance(debug, bool) or (debug and not on):
                raise HTTPException(
                    400, f"on={on!r}, debug={debug!r}: true or false is wanted, and no debug without on"
                )
            try:
                await development.switch(on=on, timeout_s=wait_timeout_s, debug=debug)
            except NotDeclared as error:
                raise HTTPException(422, str(error)) from None
            except OSError as error:
                raise HTTPException(422, f"PARITY_DEBUG_PORT cannot be listened on: {error}") from None
        return JSONResponse(await development.as_json())

    return [Route("/fly/dev", dev, methods=["GET", "PUT"])]
