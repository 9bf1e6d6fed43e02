"""The HTTP port: large payloads for clients and containers; the worker's session and the files of mounts."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from parity.admin.app import http_exception_as_problem
from parity.modal.messages import FILES, PATH, Deployed, Exited, Hello, Message, Stop, Welcome, decode, encode
from parity.modal.plane import Plane

_BLOB = re.compile(r"bl-[A-Za-z0-9]{1,60}")
_HASH = re.compile(r"[0-9a-f]{64}")
# WebSocket close codes: policy violation, and unsupported data.
_REFUSED, _NOT_UNDERSTOOD = 1008, 1003


def http_app(plane: Plane) -> Starlette:
    """Blob URLs carry an unguessable id and no credentials, as Modal's do; the worker shows the token."""

    async def blob(request: Request) -> Response:
        blob_id = request.path_params["blob_id"]
        fault = plane.faults.take("blob", request.method)
        if fault is not None:
            return Response(f"injected {fault.status}", int(fault.status))
        if not _BLOB.fullmatch(blob_id):
            raise HTTPException(404, f"there is no blob {blob_id}")
        if request.method == "PUT":
            digest = await asyncio.to_thread(plane.blobs.put, blob_id, await request.body())
            return Response("stored", headers={"ETag": f'"{digest}"'})
        if not plane.blobs.has(blob_id):
            raise HTTPException(404, f"there is no blob {blob_id}")
        return FileResponse(plane.blobs.path(blob_id), media_type="application/octet-stream")

    async def file(request: Request) -> Response:
        digest = request.path_params["digest"]
        if not _authorised(plane, request.headers):
            raise HTTPException(401, "the worker's token is not the one this stand-in was started with")
        if not _HASH.fullmatch(digest) or not plane.files.has(digest):
            raise HTTPException(404, f"there is no file {digest}")
        return FileResponse(plane.files.path(digest), media_type="application/octet-stream")

    async def session(socket: WebSocket) -> None:
        if not _authorised(plane, socket.headers):
            await socket.close(_REFUSED, "wrong token")
            return
        await socket.accept()
        await _session(plane, socket)

    return Starlette(
        routes=[
            Route("/blob/{blob_id}", blob, methods=["GET", "PUT"]),
            Route(f"{FILES}/{{digest}}", file),
            WebSocketRoute(PATH, session),
        ],
        exception_handlers={HTTPException: http_exception_as_problem},
    )


async def _session(plane: Plane, socket: WebSocket) -> None:
    """One worker's connection, until it ends."""
    try:
        hello = decode(await socket.receive_text())
    except (ValueError, WebSocketDisconnect):
        return
    if not isinstance(hello, Hello):
        await socket.close(_NOT_UNDERSTOOD, "Hello comes first")
        return
    outbox = plane.workers.connect()
    deployed = [app.name for app in plane.registry.apps.values() if app.deployed_at]
    outbox.put_nowait(Welcome(deployed, plane.workers.debugging))
    for task_id in plane.scheduler.adopt(hello.tasks):
        outbox.put_nowait(Stop(task_id, 9))
    sender = asyncio.create_task(_send(socket, outbox))
    try:
        while True:
            message = decode(await socket.receive_text())
            if isinstance(message, Exited):
                plane.scheduler.exited(message.task_id, message.code, message.log)
            elif isinstance(message, Deployed):
                plane.workers.deployed(message.problem)
    except (ValueError, WebSocketDisconnect):
        # A message that is not one ends the session too: the worker connects again and says what runs.
        pass
    finally:
        sender.cancel()
        if plane.workers.disconnect(outbox):
            plane.scheduler.worker_left()


async def _send(socket: WebSocket, outbox: asyncio.Queue[Message]) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.send_text(encode(await outbox.get()))


def _authorised(plane: Plane, headers: Headers) -> bool:
    expected = f"Bearer {plane.config.token_id}:{plane.config.token_secret}"
    return hmac.compare_digest(headers.get("authorization", "").encode(), expected.encode())
