"""Helpers for variants: types of ASGI, and functions for whole requests and responses."""

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
# While a variant is active, the harness sends the name of the contract's method in this header, or ``READS`` if the
# method only reads. Without it, reads of an app that only uses POST (JSON-RPC, GraphQL) could not be recognised.
DOES = b"x-parity-does"
READS = b"read"
# The setting with which a proxy passes a dict that all Machines share.
MEMORY = "memory"


def does(scope: Message) -> bytes:
    """The value of ``DOES`` in the request; empty without it."""
    return header(scope, DOES)


def is_read(scope: Message) -> bool:
    """Whether it is an HTTP request that reads."""
    return scope["type"] == "http" and (scope["method"] == "GET" or does(scope) == READS)


def is_write(scope: Message) -> bool:
    """Whether it is an HTTP request that writes."""
    return scope["type"] == "http" and scope["method"] in WRITES and does(scope) != READS


def place(scope: Message) -> str:
    """A name of the requested resource: the path of a GET, else the method, the path and ``does``."""
    path = str(scope["path"])
    return path if scope["method"] == "GET" else f"{scope['method']} {path} {does(scope).decode()}"


def shape(scope: Message) -> str:
    """``place`` without the segments of the path that hold a digit, such as ids: alike for all records of one kind."""
    return "/".join("*" if any(c.isdigit() for c in one) else one for one in place(scope).split("/"))


class _Enough(Exception):
    """The first event of a stream has arrived."""


async def said(app: App, scope: Message, receive: Receive) -> list[Message]:
    """The messages of the app's response to one request; of an event stream, those up to its first event."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)
        body = message.get("body", b"")
        if b"\n\n" in body.replace(b"\r\n", b"\n") and _streams(messages[0]):
            messages[-1] = {**message, "more_body": False}
            raise _Enough

    try:
        await app(scope, receive, keep)
    except Exception:  # Starlette sends a response 500 and then raises again
        if not messages:
            raise
    return messages


# Codes of JSON-RPC for a request that is itself wrong.
_WRONG_REQUEST = (-32700, -32600, -32601, -32602)


def failed(messages: list[Message]) -> bool:
    """Whether the app says that it failed: by a status of 5xx, or by an error in a 200 (JSON-RPC, GraphQL)."""
    if messages[0]["status"] != 200:
        return bool(messages[0]["status"] >= 500)
    try:
        found = json.loads(b"".join(message.get("body", b"") for message in messages[1:]))
    except ValueError:
        return False
    if not isinstance(found, dict):
        return False
    error = found.get("error")
    return bool(found.get("errors")) or (isinstance(error, dict) and error.get("code") not in _WRONG_REQUEST)


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
    """A ``receive`` that returns ``body`` once; then the client stays connected and sends nothing."""
    unread = [body]

    async def receive() -> Message:
        if not unread:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": unread.pop(), "more_body": False}

    return receive


# Headers that do not identify the person. All others are part of ``reader``, to keep two people's responses apart.
_NOT_THE_PERSON = frozenset({b"accept", b"accept-encoding", b"connection", b"content-length", b"content-type", b"host",
                             b"origin", b"user-agent", b"via"})  # fmt: skip


def reader(scope: Message) -> tuple[object, object, object]:
    """The requested resource, the query and the headers that may identify the person."""
    return place(scope), scope.get("query_string", b""), tuple(pair for pair in scope["headers"] if of_person(pair[0]))


def of_person(header_name: bytes) -> bool:
    """Whether a request's header may identify the person."""
    name = header_name.lower()
    return name not in _NOT_THE_PERSON and not name.startswith((b"x-forwarded-", b"fly-", b"x-req", DOES))


def changed_head(app: App, change: Callable[[Message, Message], Message]) -> App:
    """``app`` with ``change(scope, head)`` applied to the head of each response."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        async def changed(message: Message) -> None:
            await send(change(scope, message) if message["type"] == "http.response.start" else message)

        await app(scope, receive, changed)

    return broken


def header(scope: Message, name: bytes) -> bytes:
    """The value of a request header; empty if it is absent."""
    return next((bytes(value) for key, value in scope["headers"] if key.lower() == name), b"")


def answer(status: int, text: str, like: list[Message] | None = None) -> list[Message]:
    """The messages of a JSON response, with the Access-Control headers of the response ``like``."""
    cors = [pair for pair in (like[0]["headers"] if like else []) if pair[0].lower().startswith(b"access-control-")]
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text.encode())).encode())]
    return [
        {"type": "http.response.start", "status": status, "headers": [*headers, *cors]},
        {"type": "http.response.body", "body": text.encode()},
    ]
