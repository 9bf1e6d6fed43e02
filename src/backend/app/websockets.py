"""`/ws/export/{export_id}` and `/ws/extractions`: send the current state first, then every change.

Jobs that run on this Machine report changes through the hub. For jobs of other Machines, the rows are polled every
`LOOK_SECONDS`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from app import problems
from app.context import UserContext, current_caller
from app.core import Core
from app.dependencies import ContextDep, CoreDep
from app.ids import is_id
from app.jobs import rows
from app.jobs.dependencies import RunnerDep
from app.jobs.models import Job, JobKind, event
from app.middleware.owner import PINNED
from app.middleware.user_context import SUBPROTOCOL
from app.storage.interface import StorageError
from app.sync.interface import Session, SyncError

# Close codes (RFC 6455 7.4.1). 4000 to 4999 are free for applications.
NOT_TEXT: Final = 1003
TOO_LONG: Final = 1009
TRY_AGAIN: Final = 1013
UNKNOWN: Final = 4404
MAX_TEXT: Final = 1024
"""Longest message of a client, in characters. Clients only send pings."""
LOOK_SECONDS: Final = 2.0
"""Interval at which the rows are polled."""
SEND_SECONDS: Final = 10.0
"""Time in which a client must accept a message."""

router = APIRouter()
Look = Callable[[], Awaitable[list[Job]]]


@router.websocket("/ws/export/{export_id}")
async def export_events(
    websocket: WebSocket, export_id: str, context: ContextDep, core: CoreDep, runner: RunnerDep
) -> None:
    """Events of one export. Closes with 4404 if the profile has no export with this id."""
    runner.awaken(context)

    async def look() -> list[Job]:
        if not is_id(export_id):
            return []
        async with _session(websocket, core, context) as session:
            job = await session.read(lambda connection: rows.find(connection, export_id))
        return [job] if job is not None and job.kind is JobKind.EXPORT else []

    async def serve(events: asyncio.Queue[Job]) -> None:
        first = await look()
        if not first:
            raise _Close(UNKNOWN, f"There is no export {export_id!r} in this profile")
        await _send(websocket, event(runner.latest(context, first[0]), "state"))
        await _serve(websocket, events, look, {first[0].id: first[0]}, only=export_id)

    with runner.hub.listen(context, JobKind.EXPORT) as events:
        await _connected(websocket, lambda: serve(events))


@router.websocket("/ws/extractions")
async def extraction_events(websocket: WebSocket, context: ContextDep, core: CoreDep, runner: RunnerDep) -> None:
    """Events of all extractions of the profile."""
    runner.awaken(context)

    async def look() -> list[Job]:
        async with _session(websocket, core, context) as session:
            return await session.read(lambda connection: rows.of_kind(connection, JobKind.EXTRACTION))

    async def serve(events: asyncio.Queue[Job]) -> None:
        first = await look()
        shown = [event(runner.latest(context, job), "state") for job in first]
        await _send(websocket, {"type": "state", "extractions": shown})
        await _serve(websocket, events, look, {job.id: job for job in first}, only=None)

    with runner.hub.listen(context, JobKind.EXTRACTION) as events:
        await _connected(websocket, lambda: serve(events))


@router.websocket("/{path:path}")
async def nothing(path: str) -> None:
    """404 with a reason for any other path. Starlette answers 403 without one."""
    raise problems.NOT_FOUND.error(
        f"There is no WebSocket at {'/' + path[:80]!r}: only /ws/extractions and /ws/export/ID"
    )


def _session(websocket: WebSocket, core: Core, context: UserContext) -> AbstractAsyncContextManager[Session]:
    """Open a session as a request does. The Machine becomes the owner, unless `PINNED` is in the scope."""
    serving = PINNED not in websocket.scope
    return core.databases.session(context, at_least=current_caller().position, serving=serving)


class _Close(Exception):
    """Ends the connection. The reason is cut to 123 bytes, the limit of a close frame (RFC 6455 5.5)."""

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason.encode()[:123].decode(errors="ignore")
        super().__init__(reason)


async def _connected(websocket: WebSocket, serve: Callable[[], Awaitable[None]]) -> None:
    """Accept the connection and run `serve`. Every error ends the connection with a close code."""
    try:
        offered = websocket.scope.get("subprotocols", ())
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        try:
            await serve()
        except _Close as close:
            await websocket.close(close.code, close.reason)
        except (SyncError, StorageError):
            await websocket.close(TRY_AGAIN, "Object storage could not be reached; try again")
    except (WebSocketDisconnect, TimeoutError):
        return  # the client disconnected, or does not even accept a close frame


async def _serve(
    websocket: WebSocket, events: asyncio.Queue[Job], look: Look, known: dict[str, Job], only: str | None
) -> None:
    """Send changes and answer pings. Raises WebSocketDisconnect when the client leaves, TimeoutError when it accepts no
    data for SEND_SECONDS, and _Close when it sends an invalid message."""
    # Only the first look makes this Machine the owner. Otherwise, with open sockets on two Machines, each would take
    # the profile from the other every LOOK_SECONDS.
    websocket.scope[PINNED] = True
    tasks = [
        asyncio.create_task(_answer_pings(websocket)),
        asyncio.create_task(_forward(websocket, events, known, only)),
        asyncio.create_task(_watch_rows(events, look, known, only)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer_pings(websocket: WebSocket) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text = message.get("text")
        if text is None:
            raise _Close(NOT_TEXT, "Send text messages only")
        if len(text) > MAX_TEXT:
            raise _Close(TOO_LONG, f"A message has at most {MAX_TEXT} characters")
        if text == "ping":
            async with asyncio.timeout(SEND_SECONDS):
                await websocket.send_text("pong")
        elif _is_ping(text):
            await _send(websocket, {"type": "pong"})


async def _forward(websocket: WebSocket, events: asyncio.Queue[Job], known: dict[str, Job], only: str | None) -> None:
    while True:
        job = await events.get()
        if (only is None or job.id == only) and _is_news(known.get(job.id), job):
            known[job.id] = job
            await _send(websocket, event(job, "progress"))


async def _watch_rows(events: asyncio.Queue[Job], look: Look, known: dict[str, Job], only: str | None) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            found = await look()
            if only is not None and not found:
                raise _Close(UNKNOWN, f"Export {only!r} was deleted")
            for job in found:
                if _is_news(known.get(job.id), job) and not events.full():
                    events.put_nowait(job)
        except (SyncError, StorageError):
            continue  # try again at the next interval; jobs of this Machine still report through the hub


def _is_news(before: Job | None, job: Job) -> bool:
    """Whether `job` is newer than `before`. A row lags behind the events of the hub, so it may show less progress."""
    if before is None or before.status is not job.status:
        return not (before is not None and job.updated_at < before.updated_at)
    return job.progress > before.progress or (job.progress == before.progress and job.phase != before.phase)


def _is_ping(text: str) -> bool:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("type") == "ping"


async def _send(websocket: WebSocket, message: dict[str, Any]) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await websocket.send_text(json.dumps(message))
