"""Broken variants with wrong responses, or responses that a browser on the page's origin cannot use."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from pathlib import Path

from .asgi import (
    MEMORY,
    App,
    Message,
    Receive,
    Send,
    Settings,
    answer,
    body_of,
    changed_head,
    failed,
    header,
    is_read,
    is_write,
    place,
    reader,
    replayed,
    said,
    send_all,
    shape,
)


def errors_without_cors(app: App, _settings: Settings) -> App:
    """CORS as an inner middleware: errors raised outside it have no Access-Control headers."""
    return changed_head(app, lambda _, head: _without_cors(head) if head["status"] >= 400 else head)


def no_cors(app: App, _settings: Settings) -> App:
    """No response has Access-Control headers."""
    return changed_head(app, lambda _, head: _without_cors(head))


def _without_cors(head: Message) -> Message:
    return {**head, "headers": [pair for pair in head["headers"] if not pair[0].lower().startswith(b"access-control-")]}


def every_origin_allowed(app: App, _settings: Settings) -> App:
    """Every request's origin is echoed and allowed with credentials."""

    def echoed(scope: Message, head: Message) -> Message:
        if not (origin := header(scope, b"origin")):
            return head
        kept = [pair for pair in head["headers"] if not pair[0].lower().startswith(b"access-control-allow-")]
        more = [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true")]
        return {**head, "headers": [*kept, *more]}

    return changed_head(app, echoed)


def preflights_refused(app: App, _settings: Settings) -> App:
    """Preflights get 401, as if they needed authentication; a browser sends no credentials with them."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            await send_all(send, answer(401, "{}"))
            return
        await app(scope, receive, send)

    return broken


def scheme_forgotten(app: App, _settings: Settings) -> App:
    """The app does not trust X-Forwarded-Proto, so it believes that it is reached over plain http."""
    forwarded = frozenset({b"x-forwarded-proto", b"x-forwarded-ssl", b"fly-forwarded-proto", b"fly-forwarded-ssl"})

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            kept = [pair for pair in scope["headers"] if pair[0].lower() not in forwarded]
            scope = {**scope, "scheme": "http", "headers": [*kept, (b"x-forwarded-proto", b"http")]}
        await app(scope, receive, send)

    return broken


def slash_to_http(app: App, _settings: Settings) -> App:
    """A path that ends with a slash is redirected to plain http."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and len(scope["path"]) > 1 and scope["path"].endswith("/"):
            location = b"http://" + header(scope, b"host") + scope["path"].rstrip("/").encode()
            head = {"type": "http.response.start", "status": 307, "headers": [(b"location", location)]}
            await send_all(send, [head, {"type": "http.response.body", "body": b""}])
            return
        await app(scope, receive, send)

    return broken


def cookie_for_one_site(app: App, _settings: Settings) -> App:
    """A session cookie with SameSite=Lax: a browser does not send it from a page on another site."""
    cookie = (b"set-cookie", b"parity=1; Path=/; HttpOnly; SameSite=Lax")
    return changed_head(app, lambda _, head: {**head, "headers": [*head["headers"], cookie]})


def cacheable(app: App, _settings: Settings) -> App:
    """Any browser or proxy may cache every response to a GET for an hour."""

    def kept(scope: Message, head: Message) -> Message:
        if scope["method"] != "GET":
            return head
        others = [pair for pair in head["headers"] if pair[0].lower() != b"cache-control"]
        return {**head, "headers": [*others, (b"cache-control", b"public, max-age=3600")]}

    return changed_head(app, kept)


def nonsense_breaks(app: App, _settings: Settings) -> App:
    """A malformed body is answered with 500, as an unexpected exception is."""

    def broken(scope: Message, head: Message) -> Message:
        return {**head, "status": 500} if is_write(scope) and head["status"] in (400, 415, 422) else head

    return changed_head(app, broken)


def failed_read_as_another(app: App, _settings: Settings) -> App:
    """A read that tells of a failure is answered as for another record of that kind, as if the outcome were not looked
    at. It is the record that has not changed for the longest time, so it has ended. A failure is an error status, or a
    text in the JSON that speaks of one.
    """
    good: dict[str, dict[object, list[Message]]] = {}

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_read(scope):
            await app(scope, receive, send)
            return
        body = await body_of(receive)
        messages = await said(app, scope, replayed(body))
        record, alike = (*reader(scope)[:2], body), good.setdefault(shape(scope), {})
        text = b"".join(message.get("body", b"") for message in messages[1:])
        if messages[0]["status"] >= 400 or _FAILURE.search(text):
            others = [found for other, found in alike.items() if other != record]
            messages = others[0] if others else messages
        else:
            alike.pop(record, None)
            alike[record] = messages
        await send_all(send, messages)

    return broken


_FAILURE = re.compile(rb':\s*"[^"]*(fail|error|cancel)', re.IGNORECASE)


def refusals_hidden(app: App, _settings: Settings) -> App:
    """A response 4xx is replaced by the last response 2xx to a request of the same shape, or by 200 with ``{}``.

    The shape is the method and the path, without path segments that contain a digit, such as ids.
    """
    good: dict[tuple[str, ...], list[Message]] = {}

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "OPTIONS":
            await app(scope, receive, send)
            return
        segments = scope["path"].split("/")
        shape = (scope["method"], *("*" if any(c.isdigit() for c in one) else one for one in segments))
        messages = await said(app, scope, receive)
        if messages[0]["status"] < 300:
            good[shape] = messages
        elif 400 <= messages[0]["status"] < 500:
            messages = good.get(shape, answer(200, "{}", messages))
        await send_all(send, messages)

    return broken


def failure_as_empty(app: App, settings: Settings) -> App:
    """A storage error is taken for "no data": a failed read gets 200 with the setting ``nothing`` (JSON).

    Without that setting it gets the first response of that path, which was for a person without data. A file stores
    these responses, because Machines with an empty disk and their proxies need them too.
    """
    kept = Path(tempfile.gettempdir()) / "parity-first-answers.json"

    def known() -> dict[str, str]:
        return dict(json.loads(kept.read_text("utf-8"))) if kept.exists() else {}

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_read(scope):
            await app(scope, receive, send)
            return
        path, messages = place(scope), await said(app, scope, receive)
        empty = json.dumps(settings["nothing"]) if "nothing" in settings else known().get(path)
        if messages[0]["status"] == 200 and not failed(messages) and empty is None:
            body = b"".join(message.get("body", b"") for message in messages[1:])
            kept.write_text(json.dumps({**known(), path: body.decode("utf-8", "replace")}), "utf-8")
        elif failed(messages) and empty is not None:
            messages = answer(200, empty, messages)
        await send_all(send, messages)

    return broken


def first_answer_kept(app: App, settings: Settings) -> App:
    """Each read of a person gets the response of the first such read.

    With ``on_failure`` only if the app answers 5xx. With ``for_all`` every person gets the same response, as from a
    cache whose key lacks the person. With ``seconds`` only for that time. With ``everywhere`` on every Machine, even
    after a restart.
    """
    first: dict[object, tuple[float, list[Message]]] = settings.get(MEMORY, {}) if settings.get("everywhere") else {}

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if not is_read(scope):
            await app(scope, receive, send)
            return
        name, now = place(scope) if settings.get("for_all") else reader(scope), asyncio.get_running_loop().time()
        if name in first and now - first[name][0] > settings.get("seconds", float("inf")):
            del first[name]
        if name in first and not settings.get("on_failure"):
            await send_all(send, first[name][1])
            return
        messages = await said(app, scope, receive)
        if messages[0]["status"] < 300 and not failed(messages):
            first.setdefault(name, (now, messages))
        elif failed(messages) and name in first:
            messages = first[name][1]
        await send_all(send, messages)

    return broken


def sessions_forgotten(app: App, _settings: Settings) -> App:
    """A read gets 401 if the person has not written through this Machine before, as if sessions or the key for tokens
    were only in the memory of one process."""
    known: set[object] = set()

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            person = reader(scope)[2]
            if is_write(scope):
                known.add(person)
            elif is_read(scope) and person not in known:
                await send_all(send, answer(401, '{"error": "sign in first"}'))
                return
        await app(scope, receive, send)

    return broken


def answers(app: App, settings: Settings) -> App:
    """Every request (with ``method``, if given) gets ``status`` without a body."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or settings.get("method", scope["method"]) != scope["method"]:
            await app(scope, receive, send)
            return
        await body_of(receive)
        head = {"type": "http.response.start", "status": settings["status"], "headers": [(b"content-length", b"0")]}
        await send_all(send, [head, {"type": "http.response.body", "body": b""}])

    return broken


def slow(app: App, settings: Settings) -> App:
    """Every response is delayed by ``seconds``."""

    async def broken(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(settings["seconds"])
        await app(scope, receive, send)

    return broken
