"""Both WebSockets through the edge's TLS: state first, then events, pings answered, from whichever Machine serves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from broken import websockets_of_own_jobs, websockets_only_pong
from journey import (
    OVER,
    RENDER_S,
    SMALL,
    SMALL_CUTS,
    SMALL_SECONDS,
    Cut,
    cut,
    extract,
    repeated,
    start_export,
    until_over,
    upload,
)
from parity.checks import Proxy, Wrap, check
from parity.checks.machines import Machines
from parity.checks.media import Media
from parity.checks.person import Person
from parity.checks.stack import Stack, ssl_context

FIRST_MESSAGE_S = 60.0
# How long another Machine may take to report a job that ended, on a busy host: it asks every two seconds for what is a
# second old.
FAR_S = 60.0
# Long enough that the render is still going on when the WebSocket opens.
LONGER_CUTS = (Cut(0.0, 3.0), Cut(3.0, 5.9))
Messages = list[Mapping[str, Any]]


@check(
    "I",
    "The WebSocket of an export sends its state, its progress and its end, over wss",
    broken=Wrap(websockets_only_pong.wrap),
    because="never told that",
    needs=("gpu", "ffmpeg"),
    deadline_s=40 + RENDER_S,
)
async def test_export_socket(person: Person, stack: Stack, media: Media) -> None:
    """Publish each state of an export to the hub of WebSockets, its end too, and answer pings."""
    game = await upload(person, await media.file(SMALL_SECONDS, SMALL))
    clips = await cut(person, game["id"], LONGER_CUTS)
    export = await start_export(person, clips, overlay="", quality="standard")
    messages = await _watched(person, stack, f"/ws/export/{export}", export, "/api/exports/{id}")
    first = messages[0]
    assert (first.get("type"), _job_of(first)) == ("state", export), f"the first message is no state: {first}"
    assert first.get("status") not in OVER, "the export was over before the WebSocket told anything: no event was seen"


@check(
    "I",
    "The WebSocket of extractions reports a clip that is cut while it is open, over wss",
    broken=Proxy("sockets_refused"),
    because="the handshake was refused",
    needs=("gpu", "ffmpeg"),
    deadline_s=40 + RENDER_S,
)
async def test_extractions_socket(person: Person, stack: Stack, media: Media) -> None:
    """Accept the WebSocket before the job begins, and publish each state of an extraction, its end too."""
    game = await upload(person, await media.file(SMALL_SECONDS, SMALL))
    clip = (await cut(person, game["id"], SMALL_CUTS[:1]))[0]

    async def start() -> str:
        return await extract(person, clip)

    await _watched(person, stack, "/ws/extractions", start, "/api/extractions/{id}")


@check(
    "D",
    "A WebSocket on one Machine reports a clip that another Machine cuts",
    broken=Wrap(websockets_of_own_jobs.wrap),
    because="never told that",
    needs=("gpu", "ffmpeg"),
    deadline_s=60 + RENDER_S,
)
async def test_far_socket(person: Person, stack: Stack, machines: Machines, media: Media) -> None:
    """Let the WebSocket also look into the database for jobs that other Machines run."""
    game = await upload(person, await media.file(SMALL_SECONDS, SMALL))
    clip = (await cut(person, game["id"], SMALL_CUTS[:1]))[0]

    async def start() -> str:
        job = await repeated(lambda: extract(person, clip))
        # Over where it runs; what the other Machine is still to tell is counted from now.
        await repeated(lambda: until_over(person, f"/api/extractions/{job}"))
        return job

    async with machines.one_more() as second:
        await _watched(person.on(second), stack, "/ws/extractions", start, "/api/extractions/{id}", FAR_S)


async def _watched(
    person: Person,
    stack: Stack,
    path: str,
    job: str | Callable[[], Awaitable[str]],
    rest_path: str,
    within_s: float = RENDER_S,
) -> Messages:
    """What the WebSocket told of the job until it was over, which must be true. A function begins the job once the
    WebSocket is open."""
    who = ("reel-ballers", f"user.{person.api.user}", f"profile.{person.api.headers['X-Profile-ID']}")
    url = stack.target.api_url.replace("http", "ws", 1) + path
    try:
        async with connect(
            url,
            additional_headers=person.api.routing,
            subprotocols=[websockets.Subprotocol(name) for name in who],
            ssl=ssl_context(stack.target.ca) if url.startswith("wss:") else None,
            origin=websockets.Origin(str(person.api.origin)),
            proxy=None,
            open_timeout=FIRST_MESSAGE_S,
        ) as socket:
            job_id = job if isinstance(job, str) else await job()
            try:
                async with asyncio.timeout(within_s):
                    messages, pong = await _listened(socket, job_id)
            except (TimeoutError, ConnectionClosed) as error:
                raise AssertionError(f"{path} never told that {job_id} is over: {type(error).__name__}") from None
    except InvalidStatus as refusal:
        raise AssertionError(f"{path}: the handshake was refused: {refusal.response.status_code}") from None
    rest = await until_over(person, rest_path.format(id=job_id))
    of_job = [message for message in messages if _job_of(message) == job_id]
    steps, last, wrong = [float(message.get("progress", 0)) for message in of_job], of_job[-1], []
    if not pong:
        wrong.append("a ping was not answered")
    if steps != sorted(steps):
        wrong.append(f"progress goes back: {steps}")
    if last.get("status") != "complete":
        wrong.append(f"the last message says {last.get('status')}: {last.get('reason')}")
    for name in ("status", "key"):
        if rest.get(name) != last.get(name):
            wrong.append(f"by REST {name} is {rest.get(name)!r}, the last message says {last.get(name)!r}")
    assert not wrong, "\n".join(wrong)
    return messages


async def _listened(socket: ClientConnection, job_id: str) -> tuple[Messages, bool]:
    """All messages until one says that the job has ended, and whether a ping was answered.

    Raises ``TimeoutError`` when no job is reported at first.
    """
    messages: Messages = []
    pong = False
    await socket.send("ping")
    async with asyncio.timeout(FIRST_MESSAGE_S) as first:
        while not (pong and messages and _job_of(messages[-1]) == job_id and messages[-1].get("status") in OVER):
            text = await socket.recv()
            if text == "pong":
                pong = True
                continue
            try:
                message = json.loads(text)
            except ValueError:
                raise AssertionError(f"the WebSocket sent {text[:200]!r}, JSON expected") from None
            if message.get("type") == "pong":
                pong = True
                continue
            first.reschedule(None)
            messages.append(message)
    return messages, pong


def _job_of(message: Mapping[str, Any]) -> str:
    return str(message.get("export_id") or message.get("extraction_id") or "")
