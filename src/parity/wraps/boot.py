"""Broken variants of starting, stopping and sleeping. Most of them work only inside the app (``Wrap``)."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from .asgi import App, Message, Receive, Send, Settings, answer, header, is_read, is_write, said, send_all


def crash_route(app: Any, settings: Settings) -> Any:
    """Not broken: a route at ``path`` that raises, inside of the middlewares that the app has around its routes.

    Starlette, FastAPI and Flask are known; any other app has to name such a request in its contract.
    """
    if hasattr(app, "add_url_rule"):  # Flask, and what is built on it
        app.add_url_rule(settings["path"], "parity_crash", lambda: 1 / 0)
        return app
    from starlette.routing import Route

    async def crash(_request: object) -> None:
        raise RuntimeError("raised by the harness")

    inner = app
    while not hasattr(inner, "router"):
        inner = inner.app
    inner.router.routes.insert(0, Route(settings["path"], crash))
    return app


def slow_boot(app: App, settings: Settings) -> App:
    """Work at import or start-up that takes ``seconds``: the port opens only afterwards."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await asyncio.sleep(settings["seconds"])
        await app(scope, receive, send)

    return broken


def busy_boot(app: App, settings: Settings) -> App:
    """Work at start-up that takes ``seconds`` of CPU time."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            end = time.process_time() + settings["seconds"]
            while time.process_time() < end:
                pass
        await app(scope, receive, send)

    return broken


def slow_shutdown(app: App, settings: Settings) -> App:
    """The end of the process waits ``seconds`` for background work."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return

        async def slowly() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await asyncio.sleep(settings["seconds"])
            return message

        await app(scope, slowly, send)

    return broken


def first_read_fails(app: App, _settings: Settings) -> App:
    """The first read after half a second without requests gets an error."""
    last = [float("-inf")]

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not header(scope, b"origin"):
            await app(scope, receive, send)
            return
        before, last[0] = last[0], time.monotonic()
        if is_read(scope) and last[0] - before > 0.5:
            await send_all(send, answer(500, '{"detail": "not ready"}', await said(app, scope, receive)))
            return
        await app(scope, receive, send)

    return broken


def limited(app: App, settings: Settings) -> App:
    """A limiter that counts everything, Fly's own probes too: after ``requests`` to one path come 429s."""
    counts: dict[str, int] = {}

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            counts[scope["path"]] = counts.get(scope["path"], 0) + 1
            if counts[scope["path"]] > settings["requests"]:
                await send_all(send, answer(429, '{"detail": "too many requests"}'))
                return
        await app(scope, receive, send)

    return broken


def unhealthy_after_failure(app: App, settings: Settings) -> App:
    """The health check is tied to the last request: after a failure it fails too, for ``seconds``.

    A probe is a GET without ``Origin``: no page sends one.
    """
    failed = [float("-inf")]

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        if (
            scope["method"] == "GET"
            and not header(scope, b"origin")
            and time.monotonic() - failed[0] < settings["seconds"]
        ):
            await send_all(send, answer(503, '{"status": "degraded"}'))
            return
        messages = await said(app, scope, receive)
        if messages[0]["status"] >= 500:
            failed[0] = time.monotonic()
        await send_all(send, messages)

    return broken


def always_healthy(app: App, _settings: Settings) -> App:
    """The app hangs but its health check passes: only requests without ``Origin``, such as probes, are answered."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and header(scope, b"origin"):
            await send_all(send, answer(500, '{"detail": "dead"}'))
            return
        await app(scope, receive, send)

    return broken


def https_only(app: App, _settings: Settings) -> App:
    """A request without the edge's header for https is redirected to https: Fly's probe has no such header."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and header(scope, b"x-forwarded-proto") != b"https":
            location = b"https://" + header(scope, b"host") + scope["path"].encode()
            await send({"type": "http.response.start", "status": 301, "headers": [(b"location", location)]})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return broken


def blocking(app: App, settings: Settings) -> App:
    """A synchronous call in an async handler: during a write the process answers no other request."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if is_write(scope):
            time.sleep(settings["seconds"])  # noqa: ASYNC251  # the very mistake
        await app(scope, receive, send)

    return broken


def busy_writes(app: App, settings: Settings) -> App:
    """Each write takes ``seconds`` of CPU time in the event loop."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if is_write(scope):
            end = time.process_time() + settings["seconds"]
            while time.process_time() < end:
                pass
        await app(scope, receive, send)

    return broken


def hungry_child(app: App, settings: Settings) -> App:
    """Each write runs a child process that takes up to ``megabytes``, and nobody looks at how it ends."""
    code = f"kept = [b'x' * 2**20 for _ in range({settings['megabytes']})]"

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if is_write(scope):
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
            await child.wait()
        await app(scope, receive, send)

    return broken


def broken_by_a_pause(app: App, settings: Settings) -> App:
    """Connections that died while the Machine was suspended are used again and again: every answer is 500."""
    ticks = {"last": 0.0, "dead": 0.0}

    async def tick() -> None:
        while True:
            now = time.time()
            if ticks["last"] and now - ticks["last"] > settings["seconds"]:
                ticks["dead"] = 1.0
            ticks["last"] = now
            await asyncio.sleep(0.1)

    tasks: list[asyncio.Task[None]] = []

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not tasks:
            tasks.append(asyncio.create_task(tick()))
        if scope["type"] == "http" and ticks["dead"] and header(scope, b"origin"):
            await send_all(send, answer(500, '{"detail": "connection is closed"}', await said(app, scope, receive)))
            return
        await app(scope, receive, send)

    return broken
