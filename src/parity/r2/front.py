"""The ASGI application: every request goes through R2's checks in R2's order, then to the store.

Order: CORS and OPTIONS, authentication, operation, headers, throttle, store.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from parity.r2 import answers, cors, latency, routes
from parity.r2.body import MAX_XML, ClientGone, Receive, check_length, check_streaming, receive_xml
from parity.r2.checksums import check_one
from parity.r2.conditions import CONDITIONS
from parity.r2.configuration import Configurations
from parity.r2.connection import EXTENSION
from parity.r2.content import INLINE_LIMIT, BlobFolder
from parity.r2.errors import R2Error, internal_error
from parity.r2.faults import NO_STRIKE, PREFLIGHT, FaultTable, Strike
from parity.r2.headers import screen
from parity.r2.operations.context import Context, EndedUploads
from parity.r2.operations.objects import keys_to_delete
from parity.r2.operations.table import HANDLERS, TAKES_BODY
from parity.r2.reply import Reply, error_reply
from parity.r2.request import Request, build
from parity.r2.routes import Operation
from parity.r2.rules import Rulebook
from parity.r2.seen import REQUEST_ID_HEADERS, Seen, SeenLog
from parity.r2.settings import Behaviour, R2Settings
from parity.r2.sigv4 import Authenticated, Token, verify
from parity.r2.store.interface import Store
from parity.r2.throttle import Throttle
from parity.r2.wire import Dropped, Incoming, Send, Wire

# Operations for which R2's documents list no conditions on the object that is written.
_UNLISTED = frozenset({"DeleteObject", "CopyObject"})
Scope = MutableMapping[str, Any]


BeforeAnswer = Callable[[Operation], Awaitable[None]]


async def _at_once(_operation: Operation) -> None:
    """The `before_answer` of a store that saves nothing."""


class Front:
    """R2's HTTP interface over ``store``. ``configured`` holds CORS, lifecycle rules and locks of the buckets."""

    def __init__(self, settings: R2Settings, store: Store, folder: BlobFolder) -> None:
        self.store, self.folder = store, folder
        self.tokens: dict[str, Token] = {token.access_key: token for token in settings.tokens}
        self.hosts = settings.hosts
        self.configured = Configurations()
        self.faults = FaultTable()
        self.seen = SeenLog()
        # Awaited before the answer to an operation that may have changed something.
        self.before_answer: BeforeAnswer = _at_once
        # Why the last body could not be written to the disk; empty when it could.
        self.disk_problem = ""
        # The size in bytes of the body that did not fit.
        self.disk_wanted = 0
        self._stall = settings.stall_seconds
        self._chance = random.Random()
        self._ended = EndedUploads()
        self.behave(settings.behaviour)

    def behave(self, behaviour: Behaviour) -> None:
        """Change the behaviour; requests in progress keep the one with which they began."""
        self.behaviour = behaviour
        self.rules = Rulebook(behaviour.rules_off, behaviour)
        self.throttle = Throttle(behaviour.write_window, time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope.get("extensions", {}).get(EXTENSION, {}).get("connection")
        seen = Seen(time.time(), scope["method"], "", "", "", "")
        wire, incoming = Wire(send, connection), Incoming(receive, seen, self._stall)
        began = time.perf_counter()
        try:
            request, reply, cut = await self._reply(scope, incoming, wire, seen, getattr(connection, "number", 0))
        except (Dropped, ClientGone):
            seen.status = 0
            return
        finally:
            # Logged before the answer is sent, so that a client that has the answer finds the request in the log.
            seen.seconds = time.perf_counter() - began
            self.seen.add(seen)
        headers = self._cors_headers(request, reply) if request else []
        whole = incoming.ended or (request is not None and not request.has_body)
        optional = not incoming.begun and _expects(scope) and not wire.body_waits
        if not whole and optional:
            # A client that waits for `100 Continue` may or may not send the body now, so the connection cannot be
            # reused.
            headers.append(("Connection", "close"))
        if incoming.stalled:
            headers.append(("Connection", "close"))
            whole = True
        with contextlib.suppress(Dropped):
            await wire.send(reply, headers, cut, last=whole)
            if not whole:
                await self._discard(incoming, wire, optional)

    async def _discard(self, incoming: Incoming, wire: Wire, optional: bool) -> None:
        try:
            await incoming.discard(optional=optional)
        except TimeoutError:
            if not optional:
                wire.abort()
                return
        await wire.end()

    async def _reply(
        self, scope: Scope, incoming: Incoming, wire: Wire, seen: Seen, connection: int
    ) -> tuple[Request | None, Reply, int | None]:
        """The request, its reply, and the number of bytes after which a fault cuts the reply's body."""
        request: Request | None = None
        cut: int | None = None
        try:
            raw_path = (scope.get("raw_path") or b"/").decode("latin-1")
            raw_query = scope["query_string"].decode("latin-1")
            request = build(scope["method"], raw_path, raw_query, scope["headers"], self.hosts, connection, self.rules)
        except R2Error as error:
            reply = error_reply(error, head=scope["method"] == "HEAD")
        else:
            _describe(seen, request)
            with await self._strike(request, incoming, seen) if self.faults.faults else NO_STRIKE as strike:
                if delay := strike.delay():
                    await asyncio.sleep(delay)
                reply = await self._answer(request, incoming, seen, strike, wire)
                cut = strike.cut(_sent(request, reply))
        seen.status, seen.code, seen.rule = reply.status, reply.code, reply.rule
        seen.bytes_out = cut if cut is not None else 0 if request is None else _sent(request, reply)
        return request, reply, cut

    async def _strike(self, request: Request, incoming: Incoming, seen: Seen) -> Strike:
        operation = PREFLIGHT if request.method == PREFLIGHT else self._operation(request)
        keys: Collection[str] = (seen.place,)
        if operation == "DeleteObjects" and self.faults.wants_keys(operation):
            # The keys of a DeleteObjects are in its body.
            with contextlib.suppress(R2Error):
                keys = keys_to_delete(await incoming.peek(MAX_XML))
        return self.faults.strike(operation, keys, seen)

    def _operation(self, request: Request) -> str:
        try:
            return routes.find(request, self.rules).name
        except R2Error:
            return ""

    async def _answer(self, request: Request, incoming: Incoming, seen: Seen, strike: Strike, wire: Wire) -> Reply:
        try:
            return await self._decide(request, incoming, seen, strike, wire)
        except R2Error as error:
            return error_reply(error, head=request.method == "HEAD")
        except OSError as error:
            # Usually a full disk. R2 has no such error, so the client gets an InternalError and /healthz names the
            # cause.
            self.disk_problem = f"{type(error).__name__}: {error}"
            self.disk_wanted = max(request.content_length or 0, INLINE_LIMIT)
            seen.warning = self.disk_problem
            return error_reply(internal_error(), head=request.method == "HEAD")

    async def _decide(self, request: Request, incoming: Incoming, seen: Seen, strike: Strike, wire: Wire) -> Reply:
        rules = self.rules
        if request.method == PREFLIGHT:
            _strike_before(strike, wire)
            return _kept_back(self._preflight(request), strike, seen, wire)
        if _is_form_post(request):
            rules.refuse_if_on(answers.FORM_POST)
        authenticated = self._verify(request, strike)
        seen.presigned = authenticated.presigned
        operation = routes.find(request, rules)
        seen.operation, seen.billing = operation.name, operation.billing
        if operation.admin and not authenticated.token.admin:
            rules.refuse_if_on(answers.ACCESS)
        if not operation.served:
            rules.refuse_if_on(answers.OPERATION, operation=operation.name)
            # A permissive S3 answers 200 to configuration that it ignores.
            return Reply(200)
        screen(request, operation.name, rules)
        if request.method in ("PUT", "POST"):
            check_streaming(authenticated, rules)
            if authenticated.streams:
                seen.warning = f"{authenticated.payload} accepted here; R2 is reported to refuse it"
            check_length(request, operation.name, authenticated, rules)
            if operation.name in ("PutObject", "UploadPart"):
                check_one(request.headers, rules)
        if operation.name in _UNLISTED and rules.choices.unlisted_conditions == "ignore":
            ignored = [name for name in CONDITIONS if name in request.headers]
            if ignored:
                seen.warning = f"{ignored[0]} is ignored: R2's documents do not list it for {operation.name}"
        _strike_before(strike, wire)
        if request.has_body and operation.name not in TAKES_BODY:
            # The operation has no use for a body, but its signed digest must match or the request is refused.
            await receive_xml(incoming.receive, request, authenticated, rules)
        context = Context(
            request,
            incoming.receive,
            authenticated,
            self.store,
            rules,
            self.folder,
            self.configured,
            seen,
            self.throttle,
            self._ended,
        )
        return _kept_back(await self._carry_out(operation, context), strike, seen, wire)

    def _verify(self, request: Request, strike: Strike) -> Authenticated:
        now = time.time()
        if not strike.skew:
            return verify(request, self.tokens, self.rules, now)
        skewed = self._attempt(request, now + strike.skew)
        if _code(skewed) != _code(self._attempt(request, now)):
            strike.skewed()
        if isinstance(skewed, R2Error):
            raise skewed
        return skewed

    def _attempt(self, request: Request, now: float) -> Authenticated | R2Error:
        try:
            return verify(request, self.tokens, self.rules, now)
        except R2Error as error:
            return error

    async def _carry_out(self, operation: Operation, context: Context) -> Reply:
        request, throttle = context.request, context.throttle
        if operation.write:
            throttle.begin(request.bucket, request.key, request.connection, context.rules)
        try:
            wait = latency.delay(self.behaviour.latency, operation.name, self._chance)
            if wait:
                await asyncio.sleep(wait)
            reply = await HANDLERS[operation.name](context)
            if request.method not in ("GET", "HEAD"):
                await self.before_answer(operation)
            return reply
        finally:
            if operation.write:
                throttle.end(request.bucket, request.key)

    def _preflight(self, request: Request) -> Reply:
        method = request.header("access-control-request-method") or ""
        requested = request.header("access-control-request-headers") or ""
        policy = self.configured.cors.get(request.bucket, ())
        headers = cors.preflight_headers(policy, request.origin, method, requested)
        if headers is None:
            self.rules.refuse_if_on(answers.PREFLIGHT)
            headers = _echo(request, requested)
        return Reply(204, headers, cors=False)

    def _cors_headers(self, request: Request, reply: Reply) -> list[tuple[str, str]]:
        if not reply.cors:
            return []
        if not self.rules.holds(25):
            return _echo(request, "")
        return cors.response_headers(self.configured.cors.get(request.bucket, ()), request.origin, request.method)


def _echo(request: Request, requested: str) -> list[tuple[str, str]]:
    """What a permissive S3 answers, for when R2's rules about CORS are off."""
    headers = [("Access-Control-Allow-Origin", request.origin or "*"), ("Access-Control-Allow-Methods", "*")]
    return headers + ([("Access-Control-Allow-Headers", requested)] if requested else [])


def _is_form_post(request: Request) -> bool:
    """A POST to a bucket without authentication is taken for a browser's form upload, whatever its body is."""
    if request.method != "POST" or request.key or not request.bucket or "delete" in request.params:
        return False
    return "authorization" not in request.headers and "X-Amz-Credential" not in request.params


def _sent(request: Request, reply: Reply) -> int:
    """The length in bytes of the body that is sent."""
    return 0 if request.method == "HEAD" else reply.content_length


def _code(verdict: Authenticated | R2Error) -> str:
    return verdict.code if isinstance(verdict, R2Error) else ""


def _strike_before(strike: Strike, wire: Wire) -> None:
    """Apply the effects that prevent the operation."""
    if strike.drops("before"):
        wire.abort()
        raise Dropped
    refusal = strike.refusal()
    if refusal is not None:
        raise refusal


def _kept_back(reply: Reply, strike: Strike, seen: Seen, wire: Wire) -> Reply:
    """The reply to an operation that took effect, unless a fault drops the connection before it is sent."""
    if strike.drops("after"):
        seen.unsent = reply.status
        wire.abort()
        raise Dropped
    return reply


def _expects(scope: Scope) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"])


def _describe(seen: Seen, request: Request) -> None:
    seen.bucket, seen.key = request.bucket, request.key
    if not request.key:
        seen.prefix = request.params.get("prefix", "")
    seen.client = request.header("user-agent") or ""
    seen.request_id = next((request.headers[name] for name in REQUEST_ID_HEADERS if name in request.headers), "")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
