"""Broken variants of writes: the ways in which real backends acknowledged writes and lost them."""

from __future__ import annotations

import asyncio
import json

from .asgi import (
    MEMORY,
    App,
    Message,
    Receive,
    Send,
    Settings,
    answer,
    body_of,
    does,
    failed,
    header,
    is_write,
    of_person,
    place,
    replayed,
    said,
    send_all,
    shape,
)


def failure_acknowledged(app: App, _settings: Settings) -> App:
    """A write that failed is answered like an earlier write of the same shape that succeeded."""
    good: dict[str, list[Message]] = {}

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_write(scope):
            await app(scope, receive, send)
            return
        name, messages = shape(scope), await said(app, scope, receive)
        if messages[0]["status"] < 300 and not failed(messages):
            good[name] = messages
        await send_all(send, good.get(name, messages) if failed(messages) else messages)

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

        name = place(scope)
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
    method = str(settings.get("method", ""))

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_write(scope) or not (method in ("", scope["method"]) or does(scope) == method.lower().encode()):
            await app(scope, receive, send)
            return
        name = method or place(scope)
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
        if not is_write(scope):
            await app(scope, receive, send)
            return
        name = place(scope)
        task = under_way.get(name)
        if task is None:
            task = under_way[name] = asyncio.create_task(said(app, scope, replayed(await body_of(receive))))
            task.add_done_callback(lambda _: under_way.pop(name))
        await send_all(send, await task)

    return broken


def edits_of_another_machine_dropped(app: App, settings: Settings) -> App:
    """A write by way of another Machine than the write before is answered like that one, and lost: that Machine wrote
    on an old state, which replaced it."""
    memory: dict[object, tuple[object, list[Message] | None]] = settings.get(MEMORY, {})
    this = object()

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_write(scope):
            await app(scope, receive, send)
            return
        name = place(scope)
        before, good = memory.get(name, (this, None))
        memory[name] = this, good
        if before is not this and good is not None:
            await body_of(receive)
            await send_all(send, good)
            return
        messages = await said(app, scope, receive)
        if messages[0]["status"] < 300:
            memory[name] = this, messages
        await send_all(send, messages)

    return broken


def stuck_after_failure(app: App, _settings: Settings) -> App:
    """After one write that failed or met a conflict (409, 412), every later one fails until the process restarts."""
    stuck: list[list[Message]] = []

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_write(scope):
            await app(scope, receive, send)
            return
        messages = stuck[0] if stuck else await said(app, scope, receive)
        if not stuck and (failed(messages) or messages[0]["status"] in (409, 412)):
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
    """A change by anyone is made as its owner: each change or deletion is sent on with the headers that said in the
    first one who asks."""
    first: list[tuple[bytes, bytes]] = []

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if is_write(scope) and (scope["method"] != "POST" or does(scope) in (b"change", b"delete")):
            first[:] = first or [pair for pair in scope["headers"] if of_person(pair[0])]
            kept = [pair for pair in scope["headers"] if not of_person(pair[0])]
            scope = {**scope, "headers": [*kept, *first]}
        await app(scope, receive, send)

    return broken
