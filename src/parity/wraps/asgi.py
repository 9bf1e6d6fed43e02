"""Helpers of the variants: the types of ASGI, and functions that handle a whole request or answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Settings = Mapping[str, Any]
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# While a variant is in force, the harness says in this header what the contract does with a request: the method's name,
# or ``READS`` where it only asks for something. An app whose requests are all POST (JSON-RPC, GraphQL) needs it.
DOES = b"x-parity-does"
READS = b"read"
# The setting in which a proxy passes a dict that the variant shares between all Machines.
MEMORY = "memory"


def does(scope: Message) -> bytes:
    """What the contract does with the request; empty where the harness does not say it."""
    return header(scope, DOES)


def is_read(scope: Message) -> bool:
    """Whether it is an HTTP request that only asks for something."""
    return scope["type"] == "http" and (scope["method"] == "GET" or does(scope) == READS)


def is_write(scope: Message) -> bool:
    """Whether it is an HTTP request that changes something."""
    return scope["type"] == "http" and scope["method"] in WRITES and does(scope) != READS


def place(scope: Message) -> str:
    """What is asked for: the path of a GET; else the method, the path and what the contract does."""
    path = str(scope["path"])
    return path if scope["method"] == "GET" else f"{scope['method']} {path} {does(scope).decode()}"


def shape(scope: Message) -> str:
    """``place`` without the segments of the path that hold a digit, such as ids: alike for all records of one kind."""
    return "/".join("*" if any(c.isdigit() for c in one) else one for one in place(scope).split("/"))


class _Enough(Exception):
    """The first event of a stream has come."""


async def said(app: App, scope: Message, receive: Receive) -> list[Message]:
    """The messages that the app sends for one request. Of an event stream, only those up to its first event."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)
        body = message.get("body", b"")
        if b"\n\n" in body.replace(b"\r\n", b"\n") and _streams(messages[0]):
            messages[-1] = {**message, "more_body": False}
            raise _Enough

    try:
        await app(scope, receive, keep)
    except Exception:  # Starlette answers 500 and raises on
        if not messages:
            raise
    return messages


def _streams(head: Message) -> bool:
    return any(k.lower() == b"content-type" and v.startswith(b"text/event-stream") for k, v in head.get("headers", ()))


async def send_all(send: Send, messages: list[Message]) -> None:
    for message in messages:
        await send(message)


async def body_of(receive: Receive) -> bytes:
    """The whole body of a request."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def replayed(body: bytes) -> Receive:
    """A ``receive`` that gives ``body`` once; the client then stays connected."""
    unread = [body]

    async def receive() -> Message:
        if not unread:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": unread.pop(), "more_body": False}

    return receive


# Headers that say which person asks; with the path they tell two people's answers apart.
_NOT_THE_PERSON = frozenset({b"accept", b"accept-encoding", b"connection", b"content-length", b"content-type", b"host",
                             b"origin", b"user-agent", b"via"})  # fmt: skip


def reader(scope: Message) -> tuple[object, object, object]:
    """What is asked for, the query and the headers that say who asks."""
    return place(scope), scope.get("query_string", b""), tuple(pair for pair in scope["headers"] if of_person(pair[0]))


def of_person(header_name: bytes) -> bool:
    """Whether a request's header may say who asks."""
    name = header_name.lower()
    return name not in _NOT_THE_PERSON and not name.startswith((b"x-forwarded-", b"fly-", b"x-req", DOES))


def changed_head(app: App, change: Callable[[Message, Message], Message]) -> App:
    """``change(scope, head)`` gives another head of an answer."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        async def changed(message: Message) -> None:
            await send(change(scope, message) if message["type"] == "http.response.start" else message)

        await app(scope, receive, changed)

    return broken


def header(scope: Message, name: bytes) -> bytes:
    """A request header's value; empty where it is absent."""
    return next((bytes(value) for key, value in scope["headers"] if key.lower() == name), b"")


def answer(status: int, text: str, like: list[Message] | None = None) -> list[Message]:
    """A JSON answer, with the Access-Control headers of ``like``."""
    cors = [pair for pair in (like[0]["headers"] if like else []) if pair[0].lower().startswith(b"access-control-")]
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text.encode())).encode())]
    return [
        {"type": "http.response.start", "status": status, "headers": [*headers, *cors]},
        {"type": "http.response.body", "body": text.encode()},
    ]
