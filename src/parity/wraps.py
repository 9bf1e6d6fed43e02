"""Broken variants of any HTTP application, written as ASGI wraps that know no route.

Each is ``wrap(app, settings) -> app``. The stand-in for Fly puts one between the edge and a Machine (``Proxy``), where
``app`` forwards to the Machine, so that the variant works for any language; a check may also put one inside an ASGI
backend (``Wrap``), whose package this file is then copied into. So it imports nothing of the harness.

A wrap that must invent an answer repeats the last good one to the same method and path. One that hides a failure of a
read repeats the first good one to the same person: what was shown before the person wrote anything.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Settings = Mapping[str, Any]
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Headers that say which person asks; with the path they tell two people's answers apart.
_NOT_THE_PERSON = frozenset({b"accept", b"accept-encoding", b"connection", b"content-length", b"content-type", b"host",
                             b"origin", b"user-agent", b"via"})  # fmt: skip


# --- errors that a browser cannot read


def errors_without_cors(app: App, _settings: Settings) -> App:
    """CORS as an inner middleware: what fails outside of it carries no Access-Control headers."""
    return _changed_head(app, lambda head: _without_cors(head) if head["status"] >= 400 else head)


def no_cors(app: App, _settings: Settings) -> App:
    """No answer carries Access-Control headers."""
    return _changed_head(app, _without_cors)


def _without_cors(head: Message) -> Message:
    return {**head, "headers": [pair for pair in head["headers"] if not pair[0].lower().startswith(b"access-control-")]}


def _changed_head(app: App, change: Callable[[Message], Message]) -> App:
    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        async def changed(message: Message) -> None:
            await send(change(message) if message["type"] == "http.response.start" else message)

        await app(scope, receive, changed)

    return broken


# --- answers that are not true


def failure_as_empty(app: App, settings: Settings) -> App:
    """A storage error taken for "nothing there": a GET that fails is answered 200 with ``nothing`` (JSON)."""
    empty = json.dumps(settings["nothing"]).encode()

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await app(scope, receive, send)
            return
        said = await _said(app, scope, receive)
        if said[0]["status"] >= 500:
            cors = [pair for pair in said[0]["headers"] if pair[0].lower().startswith(b"access-control-")]
            head = {**said[0], "status": 200, "headers": [*cors, (b"content-type", b"application/json")]}
            said = [head, {"type": "http.response.body", "body": empty}]
        await _say(said, send)

    return broken


def first_answer_kept(app: App, settings: Settings) -> App:
    """Reads are served from a first copy: each GET of a person is answered as it was the first time.

    With ``on_failure`` only where the app answers 5xx: a fault taken for what was there before.
    """
    first: dict[object, list[Message]] = {}

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await app(scope, receive, send)
            return
        name = _name(scope)
        if name in first and not settings.get("on_failure"):
            await _say(first[name], send)
            return
        said = await _said(app, scope, receive)
        if said[0]["status"] < 300:
            first.setdefault(name, said)
        elif said[0]["status"] >= 500:
            said = first.get(name, said)
        await _say(said, send)

    return broken


def failure_acknowledged(app: App, _settings: Settings) -> App:
    """A write that could not be stored is acknowledged like the one before."""
    good: dict[str, list[Message]] = {}

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in WRITES:
            await app(scope, receive, send)
            return
        name, said = f"{scope['method']} {scope['path']}", await _said(app, scope, receive)
        if said[0]["status"] < 300:
            good[name] = said
        elif said[0]["status"] >= 500:
            said = good.get(name, said)
        await _say(said, send)

    return broken


def answered_early(app: App, settings: Settings) -> App:
    """A write is acknowledged like the one before, and stored ``seconds`` later, in the background."""
    good: dict[str, list[Message]] = {}
    tasks: set[asyncio.Task[None]] = set()

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in WRITES:
            await app(scope, receive, send)
            return
        whole = await _read(receive)

        async def later() -> None:
            await asyncio.sleep(settings["seconds"])
            await _said(app, scope, whole)

        name = f"{scope['method']} {scope['path']}"
        if name in good:
            tasks.add(task := asyncio.create_task(later()))
            task.add_done_callback(tasks.discard)
        else:
            good[name] = await _said(app, scope, whole)
        await _say(good[name], send)

    return broken


def second_edit_dropped(app: App, _settings: Settings) -> App:
    """An edit that comes while another of the same path is under way is answered like that one, and lost."""
    under_way: dict[str, asyncio.Task[list[Message]]] = {}

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in WRITES:
            await app(scope, receive, send)
            return
        name = f"{scope['method']} {scope['path']}"
        task = under_way.get(name)
        if task is None:
            task = under_way[name] = asyncio.create_task(_said(app, scope, receive))
            task.add_done_callback(lambda _: under_way.pop(name))
        await _say(await task, send)

    return broken


def writes_dropped(app: App, settings: Settings) -> App:
    """Writes of ``method`` (all without it) are acknowledged like the one before and never reach the app."""
    good: dict[str, list[Message]] = {}
    wanted = {settings["method"]} if "method" in settings else WRITES

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in wanted:
            await app(scope, receive, send)
            return
        name = scope["method"] if "method" in settings else f"{scope['method']} {scope['path']}"
        if name not in good:
            good[name] = await _said(app, scope, receive)
        await _say(good[name], send)

    return broken


# --- refusals, crashes, delays


def answers(app: App, settings: Settings) -> App:
    """Every request (of ``method``, where given) is answered with ``status`` and nothing else."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or settings.get("method", scope["method"]) != scope["method"]:
            await app(scope, receive, send)
            return
        await _read(receive)
        await send(
            {"type": "http.response.start", "status": settings["status"], "headers": [(b"content-length", b"0")]}
        )
        await send({"type": "http.response.body", "body": b""})

    return broken


def slow(app: App, settings: Settings) -> App:
    """Every answer comes ``seconds`` late."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(settings["seconds"])
        await app(scope, receive, send)

    return broken


def one_at_a_time(app: App, _settings: Settings) -> App:
    """A blocked event loop: no request begins before the one before has ended."""
    turn = asyncio.Lock()

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        async with turn:
            await app(scope, receive, send)

    return broken


def sockets_refused(app: App, _settings: Settings) -> App:
    """Every WebSocket handshake is refused."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await app(scope, receive, send)

    return broken


def sockets_silent(app: App, _settings: Settings) -> App:
    """Every WebSocket is accepted, and says nothing ever."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return broken


def scheme_forgotten(app: App, _settings: Settings) -> App:
    """The app believes that it is reached by plain http: nobody tells it otherwise."""
    told = frozenset({b"x-forwarded-proto", b"x-forwarded-ssl", b"fly-forwarded-proto", b"fly-forwarded-ssl"})

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            kept = [pair for pair in scope["headers"] if pair[0].lower() not in told]
            scope = {**scope, "scheme": "http", "headers": [*kept, (b"x-forwarded-proto", b"http")]}
        await app(scope, receive, send)

    return broken


# --- inside the app only (``Wrap``)


def crash_route(app: Any, settings: Settings) -> Any:
    """Not broken: a route at ``path`` that raises, inside of whatever the app has around its routes."""
    from starlette.routing import Route

    async def crash(_request: object) -> None:
        raise RuntimeError("raised by the harness")

    inner = app
    while not hasattr(inner, "router"):
        inner = inner.app
    inner.router.routes.insert(0, Route(settings["path"], crash))
    return app


# --- parts


def _name(scope: Message) -> object:
    """Path, query and whatever says who asks."""
    person = tuple(
        pair
        for pair in scope["headers"]
        if (name := pair[0].lower()) not in _NOT_THE_PERSON
        and not name.startswith((b"x-forwarded-", b"fly-", b"x-req"))
    )
    return scope["path"], scope.get("query_string", b""), person


async def _read(receive: Receive) -> Receive:
    """The request's body, read to its end; the result gives it again, once, and then waits as a client that stays."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        body, more = body + message.get("body", b""), message.get("more_body", False)
    unread = [body]

    async def again() -> Message:
        if not unread:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": unread.pop(), "more_body": False}

    return again


async def _said(app: App, scope: Message, receive: Receive) -> list[Message]:
    """The app's whole answer."""
    said: list[Message] = []

    async def keep(message: Message) -> None:
        said.append(message)

    try:
        await app(scope, receive, keep)
    except Exception:  # Starlette answers 500 and raises on
        if not said:
            raise
    return said


async def _say(said: list[Message], send: Send) -> None:
    for message in said:
        await send(message)


# What a proxy can do: by the name that ``Proxy`` and PUT /fly/interposer take.
PROXIED: Mapping[str, Callable[[App, Settings], App]] = {
    wrap.__name__: wrap
    for wrap in (
        errors_without_cors, no_cors, failure_as_empty, first_answer_kept, failure_acknowledged, answered_early,
        second_edit_dropped, writes_dropped, answers, slow, one_at_a_time, sockets_refused, sockets_silent,
        scheme_forgotten,
    )
}  # fmt: skip
SOCKETS = frozenset({"sockets_refused", "sockets_silent"})
