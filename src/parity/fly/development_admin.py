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
    try:
        async with httpx.AsyncClient(timeout=DEPLOY_TIMEOUT, trust_env=False) as client:
            answer = await client.post(f"{modal_admin_url}/modal/deploy")
    except httpx.HTTPError as error:
        return f"the GPU functions are as they were: the Modal stand-in does not answer: {error!r}"
    if answer.is_success:
        return ""
    return f"the GPU functions are as they were: {answer.json().get('detail', answer.text)}"


def dev_routes(development: Development, wait_timeout_s: float) -> list[BaseRoute]:
    """``GET`` shows it, ``PUT {"on": true}`` lets Machines run the working tree, ``{"on": false}`` the image again."""

    async def dev(request: Request) -> Response:
        if request.method == "PUT":
            on = (await read_object(request, ("on",))).get("on")
            if not isinstance(on, bool):
                raise HTTPException(400, f"on={on!r}: true or false is wanted")
            try:
                await development.switch(on=on, timeout_s=wait_timeout_s)
            except NotDeclared as error:
                raise HTTPException(422, str(error)) from None
        return JSONResponse(await development.as_json())

    return [Route("/fly/dev", dev, methods=["GET", "PUT"])]
