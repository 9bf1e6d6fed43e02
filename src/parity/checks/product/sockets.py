"""Both WebSockets through the edge's TLS: state first, then events, pings answered, strangers refused; from whichever
Machine they are served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from parity.checks.broken import websockets_of_own_jobs, websockets_refused, websockets_silent
from parity.checks.kit.http import ssl_context
from parity.checks.kit.machines import first_machine, one_more
from parity.checks.kit.tools import Tools
from parity.checks.model import Broken, Check, Need, ProductFault, Wrap
from parity.checks.product.caller import Caller, new_profile
from parity.checks.product.exports import RENDER_S, SMALL_CUTS, SMALL_SECONDS
from parity.checks.product.journey import OVER, Cut, cut, start_export, until_over, upload

STRANGER = "https://stranger.example"
FIRST_MESSAGE_S = 15.0
# How long another Machine may take to tell of what is over: it looks every two seconds, at what is a second old.
FAR_S = 10.0
# Long enough that the render is still going on when the WebSocket opens.
LONGER_CUTS = (Cut(0.0, 3.0), Cut(3.0, 5.9))


@dataclass(frozen=True)
class SocketObservation:
    """What one WebSocket told about one job. ``refused``: the status of a handshake that was not taken."""

    job_id: str
    refused: int | None
    messages: list[Mapping[str, Any]]
    pong: bool
    rest: Mapping[str, Any]
    stranger: int | None


def _url(tools: Tools, caller: Caller, path: str) -> str:
    parts = urlsplit(tools.target.api_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{path}?{caller.query}"


def _open(tools: Tools, url: str, origin: str, routing: Mapping[str, str]) -> connect:
    return connect(
        url,
        additional_headers=routing,
        ssl=ssl_context(tools.target.ca) if url.startswith("wss:") else None,
        origin=websockets.Origin(origin),
        proxy=None,
        open_timeout=FIRST_MESSAGE_S,
    )


async def _stranger(tools: Tools, url: str, routing: Mapping[str, str]) -> int | None:
    """The status that a page of another site gets; None when it was let in."""
    try:
        async with _open(tools, url, STRANGER, routing):
            return None
    except InvalidStatus as refusal:
        return refusal.response.status_code


async def _listen(socket: ClientConnection, over: Callable[[Mapping[str, Any]], bool]) -> tuple[list[Any], bool]:
    """All messages until one says that the job is over; whether a ping was answered.

    Raises ``TimeoutError`` when nothing is told of any job at first.
    """
    messages: list[Any] = []
    pong = False
    await socket.send("ping")
    async with asyncio.timeout(FIRST_MESSAGE_S) as first:
        while not (pong and messages and over(messages[-1])):
            message = _read(await socket.recv())
            if message == "pong":
                pong = True
                continue
            first.reschedule(None)
            messages.append(message)
    return messages, pong


def _read(text: str | bytes) -> Any:
    if text == "pong":
        return "pong"
    try:
        message = json.loads(text)
    except ValueError:
        raise ProductFault(f"the WebSocket sent {text[:200]!r}, JSON expected") from None
    return "pong" if isinstance(message, dict) and message.get("type") == "pong" else message


async def _watch(
    tools: Tools,
    caller: Caller,
    path: str,
    start: Callable[[], Awaitable[str]] | None,
    job_id: str,
    rest_path: str,
    patience_s: float = RENDER_S,
) -> SocketObservation:
    """``start``: begin the job once connected, for a WebSocket that tells of all jobs of a profile."""
    url = _url(tools, caller, path)
    stranger = await _stranger(tools, url, caller.routing)
    try:
        async with _open(tools, url, tools.target.frontend_origin, caller.routing) as socket:
            if start is not None:
                job_id = await start()
            try:
                async with asyncio.timeout(patience_s):
                    messages, pong = await _listen(socket, lambda message: _is_over(message, job_id))
            except (TimeoutError, ConnectionClosed) as error:
                raise ProductFault(f"{path} never told that {job_id} is over: {type(error).__name__}") from None
    except InvalidStatus as refusal:
        return SocketObservation(job_id, refusal.response.status_code, [], False, {}, stranger)
    rest = await until_over(caller, rest_path.format(id=job_id), RENDER_S)
    return SocketObservation(job_id, None, messages, pong, rest, stranger)


def _job_of(message: Mapping[str, Any]) -> str:
    return str(message.get("export_id") or message.get("extraction_id") or "")


def _is_over(message: Any, job_id: str) -> bool:
    return isinstance(message, dict) and _job_of(message) == job_id and message.get("status") in OVER


async def observe_export(tools: Tools) -> SocketObservation:
    caller = await new_profile(tools)
    game = await upload(caller, await tools.media.video(SMALL_SECONDS, "640x360"))
    clips = await cut(caller, game["id"], LONGER_CUTS)
    export = await start_export(caller, clips, overlay="", quality="standard")
    return await _watch(tools, caller, f"/ws/export/{export}", None, export, "/api/exports/{id}")


async def observe_extractions(tools: Tools) -> SocketObservation:
    caller = await new_profile(tools)
    game = await upload(caller, await tools.media.video(SMALL_SECONDS, "640x360"))
    clip = (await cut(caller, game["id"], SMALL_CUTS[:1]))[0]

    async def start() -> str:
        return str((await caller.call("POST", f"/api/clips/{clip}/extract"))["id"])

    return await _watch(tools, caller, "/ws/extractions", start, "", "/api/extractions/{id}")


async def observe_far(tools: Tools) -> SocketObservation:
    """The WebSocket is open on one Machine while another one cuts the clip."""
    video = await tools.media.video(SMALL_SECONDS, "640x360")
    caller = (await new_profile(tools)).on(await first_machine(tools.admin))
    game = await upload(caller, video)
    clip = (await cut(caller, game["id"], SMALL_CUTS[:1]))[0]

    async def start() -> str:
        job = str((await caller.call("POST", f"/api/clips/{clip}/extract"))["id"])
        # Over where it runs; what the other Machine is still to tell is counted from now.
        await until_over(caller, f"/api/extractions/{job}", RENDER_S)
        return job

    async with one_more(tools.admin) as second:
        watcher = caller.on(second)
        return await _watch(tools, watcher, "/ws/extractions", start, "", "/api/extractions/{id}", FAR_S)


def judge_export(seen: SocketObservation) -> list[str]:
    first = seen.messages[0] if seen.messages else {}
    reasons = judge(seen)
    if not seen.refused and (first.get("type"), _job_of(first)) != ("state", seen.job_id):
        reasons.append(f"the first message is not the export's state: {first}")
    elif first.get("status") in OVER:
        reasons.append("the export was over before the WebSocket told anything: no event was seen")
    return reasons


def judge(seen: SocketObservation) -> list[str]:
    if seen.refused:
        return [f"the handshake from the frontend's origin was refused: {seen.refused}"]
    reasons = []
    if seen.stranger is None:
        reasons.append("a page of another site may open the WebSocket")
    if not seen.pong:
        reasons.append("a ping was not answered")
    of_job = [message for message in seen.messages if _job_of(message) == seen.job_id]
    if not of_job:
        return [*reasons, "no message told of the job"]
    steps = [float(message.get("progress", 0)) for message in of_job]
    if steps != sorted(steps):
        reasons.append(f"progress goes back: {steps}")
    last = of_job[-1]
    if last.get("status") != "complete":
        reasons.append(f"the last message says {last.get('status')}: {last.get('reason')}")
    for name in ("status", "key"):
        if seen.rest.get(name) != last.get(name):
            reasons.append(f"by REST {name} is {seen.rest.get(name)!r}, the last message says {last.get(name)!r}")
    return reasons


NEEDS = frozenset({Need.ADMIN, Need.FFMPEG})

EXPORT: Check[SocketObservation] = Check(
    id="websocket-export",
    title="The export's WebSocket tells its state, its progress and its end through wss",
    capability="I",
    observe=observe_export,
    judge=judge_export,
    broken=Broken("the WebSocket opens and tells nothing", Wrap(websockets_silent)),
    needs=NEEDS,
    deadline_s=40.0 + RENDER_S,
)

EXTRACTIONS: Check[SocketObservation] = Check(
    id="websocket-extractions",
    title="The extractions' WebSocket tells of a clip that is cut while it is open, through wss",
    capability="I",
    observe=observe_extractions,
    judge=judge,
    broken=Broken("WebSockets are refused", Wrap(websockets_refused)),
    needs=NEEDS,
    deadline_s=40.0 + RENDER_S,
)

FAR: Check[SocketObservation] = Check(
    id="websocket-on-another-machine",
    title="A WebSocket on one Machine tells of a clip that another Machine cuts",
    capability="D",
    observe=observe_far,
    judge=judge,
    broken=Broken("a WebSocket hears only of jobs of its own Machine", Wrap(websockets_of_own_jobs)),
    needs=NEEDS,
    deadline_s=60.0 + RENDER_S,
)
