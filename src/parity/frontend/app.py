"""Serves the page: its files, ``/config.json`` by host, and a health check."""

from __future__ import annotations

from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from parity.config.project import Project
from parity.frontend.files import content_type, resolve

# The headers that Pages sends with every asset. Only `no-store` differs (Pages: `public, max-age=0, must-revalidate`),
# so that a reload shows an edited file even if the browser cached one of another stack on the same port.
HEADERS = {
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
    "referrer-policy": "strict-origin-when-cross-origin",
    "x-content-type-options": "nosniff",
}

# Timeout for the Fly stand-in, in seconds: the page waits for its configuration.
ADMIN_TIMEOUT_S = 1.0

# If the page is in another repository: an empty page, so that a browser can call the API from its origin.
EMPTY_PAGE = Path(__file__).parent / "empty"


def page_config(project: Project, host: str) -> dict[str, str]:
    """``/config.json`` for the ``Host`` header's value.

    Under the page's public host name, ``api`` is the app's public host name, as in a deploy. Under another name
    (localhost) it is this stack's edge, and ``r2`` and ``ca`` are the addresses to open and the CA to trust; the server
    then adds ``up`` and ``dev``.
    """
    name = host.rsplit(":", 1)[0].lower() if host.rpartition(":")[2].isdigit() else host.lower()
    if name == project.frontend_hostname:
        return {"api": f"https://{project.api_hostname}"}
    settings = project.settings
    return {"api": settings.api_url, "r2": settings.r2_url, "ca": ".parity/trust/ca.pem"}


async def dev_note(project: Project) -> str | None:
    """The notice for the page's header if Machines run the working tree (`parity dev`), else empty. None if the edge
    does not run."""
    settings = project.settings
    admin = f"http://{settings.service_host}:{settings.admin_port}"
    try:
        async with httpx.AsyncClient(timeout=ADMIN_TIMEOUT_S, trust_env=False) as client:
            on = (await client.get(f"{admin}/fly/dev")).json()["on"]
    except httpx.TransportError:
        return None
    except (httpx.HTTPError, ValueError, KeyError):
        return ""
    return "working tree, not the image" if on else ""


def create_app(project: Project) -> ASGIApp:
    """The ASGI application for ``app.frontend_dir`` of ``parity.toml``; without that setting, an empty page."""
    root = project.path(project.parity.app.frontend_dir) if project.parity.app.frontend_dir else EMPTY_PAGE

    async def config(request: Request) -> Response:
        found: dict[str, str | bool] = {**page_config(project, request.headers.get("host", ""))}
        if "ca" in found:
            note = await dev_note(project)
            # A browser cannot distinguish an edge that does not run from one with an untrusted certificate.
            found["up"] = note is not None
            if note:
                found["dev"] = note
        return JSONResponse(found, headers=HEADERS)

    async def healthz(_request: Request) -> Response:
        page = root / "index.html"
        if not page.is_file():
            return PlainTextResponse(f"{page} does not exist\n", 503, headers=HEADERS)
        return PlainTextResponse("ok\n", headers=HEADERS)

    async def page(request: Request) -> Response:
        return _answer(root, request.url.path, request.url.query)

    methods = ["GET", "HEAD"]
    return Starlette(
        routes=[
            Route("/config.json", config, methods=methods),
            Route("/healthz", healthz, methods=methods),
            Route("/{path:path}", page, methods=methods),
        ]
    )


def _answer(root: Path, path: str, query: str) -> Response:
    found = resolve(root, path)
    if found.kind == "redirect":
        return RedirectResponse(found.location + (f"?{query}" if query else ""), 308, headers=HEADERS)
    if found.file is None:
        return PlainTextResponse("not found\n", 404, headers=HEADERS)
    status = 404 if found.kind == "missing" else 200
    # The type is set as a header, because FileResponse would add a charset to text types.
    return FileResponse(found.file, status, headers={**HEADERS, "content-type": content_type(found.file)})
