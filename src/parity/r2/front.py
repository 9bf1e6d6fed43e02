"""The ASGI application: every request goes through R2's checks in R2's order, then to the store.

Order: CORS and OPTIONS, authentication, operation, headers, throttle, store.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import MutableMapping
from typing import Any

from parity.r2 import cors, latency, routes
from parity.r2.body import ClientGone, Receive, check_length, check_streaming
from parity.r2.connection import EXTENSION
from parity.r2.content import BlobFolder
from parity.r2.cors import Policy
from parity.r2.errors import R2Error
from parity.r2.faults import Fault, FaultTable
from parity.r2.headers import screen
from parity.r2.operations.context import Context
from parity.r2.operations.table import HANDLERS
from parity.r2.reply import Reply, error_reply
from parity.r2.request import Request, build
from parity.r2.routes import Operation
from parity.r2.rules import Rulebook
from parity.r2.seen import REQUEST_ID_HEADERS, Seen, SeenLog
from parity.r2.settings import Behaviour, R2Settings
from parity.r2.sigv4 import Token, verify
from parity.r2.store.interface import Store
from parity.r2.throttle import Throttle
from parity.r2.wire import Dropped, Incoming, Send, Wire

Scope = MutableMapping[str, Any]


class Front:
    """R2's surface over ``store``. ``policies`` are the CORS policies by bucket."""

    def __init__(self, settings: R2Settings, store: Store, folder: BlobFolder) -> None:
        self.store, self.folder = store, folder
        self.tokens: dict[str, Token] = {token.access_key: token for token in settings.tokens}
        self.hosts = settings.hosts
        self.policies: dict[str, Policy] = {}
        self.faults = FaultTable()
        self.seen = SeenLog()
        self._chance = random.Random()
        self.behave(settings.behaviour)

    def behave(self, behaviour: Behaviour) -> None:
        """Take on another behaviour; requests on their way keep the one that they began with."""
        self.behaviour = behaviour
        self.rules = Rulebook(behaviour.rules_off)
        self.throttle = Throttle(behaviour.window, time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope.get("extensions", {}).get(EXTENSION, {}).get("connection")
        seen = Seen(time.time(), scope["method"], "", "", "", "")
        wire = Wire(send, connection)
        began = time.perf_counter()
        try:
            request, reply, fault = await self._reply(scope, receive, wire, seen, getattr(connection, "number", 0))
        except (Dropped, ClientGone):
            seen.status = 0
            return
        finally:
            # Told before it is answered: whoever has the answer finds the request in the log.
            seen.seconds = time.perf_counter() - began
            self.seen.add(seen)
        with contextlib.suppress(Dropped):
            await wire.send(reply, self._cors_headers(request, reply) if request else [], fault)

    async def _reply(
        self, scope: Scope, receive: Receive, wire: Wire, seen: Seen, connection: int
    ) -> tuple[Request | None, Reply, Fault | None]:
        fault: Fault | None = None
        request: Request | None = None
        try:
            raw_path = (scope.get("raw_path") or b"/").decode("latin-1")
            raw_query = scope["query_string"].decode("latin-1")
            request = build(scope["method"], raw_path, raw_query, scope["headers"], self.hosts, connection)
        except R2Error as error:
            reply = error_reply(error, head=scope["method"] == "HEAD")
        else:
            _describe(seen, request)
            fault = self._fault(request)
            seen.fault = "" if fault is None else fault.id
            if fault is not None and fault.delay:
                await asyncio.sleep(fault.delay)
            incoming = Incoming(receive, seen)
            reply = await self._answer(request, incoming, seen, fault, wire)
            if _has_body(request) and not await incoming.drain():
                reply.headers.append(("Connection", "close"))
        seen.status, seen.code, seen.rule = reply.status, reply.code, reply.rule
        whole = 0 if seen.method == "HEAD" else reply.content_length
        seen.bytes_out = whole if fault is None or fault.cut is None else min(whole, fault.cut)
        return request, reply, fault

    def _fault(self, request: Request) -> Fault | None:
        if not self.faults.faults:
            return None
        try:
            operation = routes.find(request, self.rules).name
        except R2Error:
            operation = ""
        return self.faults.take(operation, request.key)

    async def _answer(self, request: Request, incoming: Incoming, seen: Seen, fault: Fault | None, wire: Wire) -> Reply:
        try:
            return await self._decide(request, incoming, seen, fault, wire)
        except R2Error as error:
            return error_reply(error, head=request.method == "HEAD")

    async def _decide(self, request: Request, incoming: Incoming, seen: Seen, fault: Fault | None, wire: Wire) -> Reply:
        rules = self.rules
        if request.method == "OPTIONS":
            return self._preflight(request)
        if _is_form_post(request):
            rules.refuse("form-post")
        now = time.time() + (fault.skew if fault else 0.0)
        authenticated = verify(request, self.tokens, rules, now)
        seen.presigned = authenticated.presigned
        operation = routes.find(request, rules)
        seen.operation, seen.billing = operation.name, operation.billing
        if not operation.served:
            rules.refuse("operation", operation=operation.name)
            # What a permissive S3 says to configuration that it does not act upon.
            return Reply(200)
        if operation.admin and not authenticated.token.admin:
            rules.refuse("access")
        screen(request, operation.name, rules)
        if request.method in ("PUT", "POST"):
            check_streaming(authenticated, rules, self.behaviour.unsigned_streaming)
            if authenticated.payload.startswith("STREAMING-"):
                seen.warning = f"{authenticated.payload} accepted here; R2 is reported to refuse it"
            check_length(request, rules)
        if fault is not None:
            if fault.drop == "before":
                wire.abort()
                raise Dropped
            if fault.status is not None:
                raise R2Error(fault.status, fault.code, f"Fault {fault.id} on request.")
        context = Context(request, incoming.receive, authenticated, self.store, rules, self.folder, self.policies)
        reply = await self._carry_out(operation, context)
        if fault is not None and fault.drop == "after":
            wire.abort()
            raise Dropped
        return reply

    async def _carry_out(self, operation: Operation, context: Context) -> Reply:
        request, throttle = context.request, self.throttle
        if operation.write:
            throttle.begin(request.bucket, request.key, request.connection, context.rules)
        try:
            wait = latency.delay(self.behaviour.latency, operation.name, self._chance)
            if wait:
                await asyncio.sleep(wait)
            return await HANDLERS[operation.name](context)
        finally:
            if operation.write:
                throttle.end(request.bucket, request.key)

    def _preflight(self, request: Request) -> Reply:
        method = request.header("access-control-request-method") or ""
        requested = request.header("access-control-request-headers") or ""
        policy = self.policies.get(request.bucket, ())
        headers = cors.preflight_headers(policy, request.origin, method, requested)
        if headers is None:
            self.rules.refuse("preflight")
            headers = _echo(request, requested)
        return Reply(204, headers, cors=False)

    def _cors_headers(self, request: Request, reply: Reply) -> list[tuple[str, str]]:
        if not reply.cors:
            return []
        if not self.rules.holds(25):
            return _echo(request, "")
        return cors.response_headers(self.policies.get(request.bucket, ()), request.origin, request.method)


def _echo(request: Request, requested: str) -> list[tuple[str, str]]:
    """What a permissive S3 answers, for when R2's rules about CORS are off."""
    headers = [("Access-Control-Allow-Origin", request.origin or "*"), ("Access-Control-Allow-Methods", "*")]
    return headers + ([("Access-Control-Allow-Headers", requested)] if requested else [])


def _is_form_post(request: Request) -> bool:
    """A POST to a bucket without authentication is taken for a browser's form upload, whatever its body is."""
    if request.method != "POST" or request.key or not request.bucket or "delete" in request.params:
        return False
    return "authorization" not in request.headers and "X-Amz-Credential" not in request.params


def _has_body(request: Request) -> bool:
    return request.header("content-length") not in (None, "0") or "transfer-encoding" in request.headers


def _describe(seen: Seen, request: Request) -> None:
    seen.bucket, seen.key = request.bucket, request.key
    seen.client = request.header("user-agent") or ""
    seen.request_id = next((request.headers[name] for name in REQUEST_ID_HEADERS if name in request.headers), "")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
