"""Broken variants of writes: the ways in which real backends acknowledged writes and lost them."""

from __future__ import annotations

import asyncio
import json

from .asgi import (
    WRITES,
    App,
    Message,
    Receive,
    Send,
    Settings,
    answer,
    body_of,
    header,
    is_write,
    of_person,
    replayed,
    said,
    send_all,
)


def failure_acknowledged(app: App, _settings: Settings) -> App:
    """A write that failed is answered like an earlier write that succeeded."""
    good: dict[str, list[Message]] = {}

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_write(scope):
            await app(scope, receive, send)
            return
        name, messages = f"{scope['method']} {scope['path']}", await said(app, scope, receive)
        if messages[0]["status"] < 300:
            good[name] = messages
        await send_all(send, good.get(name, messages) if messages[0]["status"] >= 500 else messages)

    return broken


def answered_early(app: App, settings: Settings) -> App:
    """A write is acknowledged like the one before, and stored ``seconds`` later, in the background."""
    good: dict[str, list[Message]] = {}
    tasks: set[asyncio.Task[None]] = set()

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_write(scope):
            await app(scope, receive, send)
            return
        body = await body_of(receive)

        async def later() -> None:
            await asyncio.sleep(settings["seconds"])
            await said(app, scope, replayed(body))

        name = f"{scope['method']} {scope['path']}"
        if name in good:
            tasks.add(task := asyncio.create_task(later()))
            task.add_done_callback(tasks.discard)
        else:
            good[name] = await said(app, scope, replayed(body))
        await send_all(send, good[name])

    return broken


def writes_dropped(app: App, settings: Settings) -> App:
    """Writes of ``method`` (all without it) are acknowledged like the one before and never reach the app."""
    good: dict[str, list[Message]] = {}
    wanted = {settings["method"]} if "method" in settings else WRITES

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in wanted:
            await app(scope, receive, send)
            return
        name = str(scope["method"]) if "method" in settings else f"{scope['method']} {scope['path']}"
        if name in good:
            await body_of(receive)
            await send_all(send, good[name])
            return
        messages = await said(app, scope, receive)
        if messages[0]["status"] < 300:
            good[name] = messages
        await send_all(send, messages)

    return broken


def second_edit_dropped(app: App, _settings: Settings) -> App:
    """An edit during another edit of the same path is answered like the other one, and lost."""
    under_way: dict[str, asyncio.Task[list[Message]]] = {}

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in WRITES:
            await app(scope, receive, send)
            return
        name = f"{scope['method']} {scope['path']}"
        task = under_way.get(name)
        if task is None:
            task = under_way[name] = asyncio.create_task(said(app, scope, replayed(await body_of(receive))))
            task.add_done_callback(lambda _: under_way.pop(name))
        await send_all(send, await task)

    return broken


def stuck_after_failure(app: App, _settings: Settings) -> App:
    """After one failed write, every later write fails until the process restarts."""
    stuck: list[list[Message]] = []

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_write(scope):
            await app(scope, receive, send)
            return
        messages = stuck[0] if stuck else await said(app, scope, receive)
        if messages[0]["status"] >= 500 and not stuck:
            stuck.append(messages)
        await send_all(send, messages)

    return broken


def one_at_a_time(app: App, settings: Settings) -> App:
    """A lock is held during each request and ``seconds`` longer, so a burst of requests queues."""
    lock = asyncio.Lock()

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        async with lock:
            await asyncio.sleep(settings.get("seconds", 0.0) if is_write(scope) else 0.0)
            await app(scope, receive, send)

    return broken


def only_ascii(app: App, _settings: Settings) -> App:
    """Text beyond ASCII is replaced by question marks on its way in."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_write(scope) or b"json" not in header(scope, b"content-type"):
            await app(scope, receive, send)
            return
        try:
            text = json.dumps(json.loads(await body_of(receive)), ensure_ascii=False)
        except ValueError:
            text = ""
        body = text.encode("ascii", "replace")
        headers = [(k, str(len(body)).encode() if k == b"content-length" else v) for k, v in scope["headers"]]
        await app({**scope, "headers": headers}, replayed(body), send)

    return broken


def first_after_idle_fails(app: App, settings: Settings) -> App:
    """A pooled connection died while nothing happened: the first write after ``seconds`` (0.5) of quiet fails."""
    last = [0.0]

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_write(scope):
            await app(scope, receive, send)
            return
        now, before = asyncio.get_running_loop().time(), last[0]
        last[0] = now
        if before and now - before > settings.get("seconds", 0.5):
            await body_of(receive)
            await send_all(send, answer(500, '{"detail": "server closed the connection unexpectedly"}'))
            return
        await app(scope, receive, send)

    return broken


def changes_by_anyone(app: App, _settings: Settings) -> App:
    """Whoever asks for a change of something, its owner's is made: each request but GET and POST goes on with what the
    last POST said of who asks."""
    last: list[tuple[bytes, bytes]] = []

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            last[:] = [pair for pair in scope["headers"] if of_person(pair[0])]
        elif is_write(scope) and last:
            kept = [pair for pair in scope["headers"] if not of_person(pair[0])]
            scope = {**scope, "headers": [*kept, *last]}
        await app(scope, receive, send)

    return broken
