"""The front driven directly, without sockets: requests signed by botocore, answers as they are."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.parity.r2.conftest import BUCKET, OBJECT_TOKEN

from parity.r2.front import Front
from parity.r2.service import Service, running
from parity.r2.settings import R2Settings
from parity.r2.sigv4 import Token

HOST = "r2.example"


@dataclass
class Answer:
    """A response; ``code`` and ``message`` of its error document, empty where there is none."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def xml(self) -> ElementTree.Element:
        return ElementTree.fromstring(self.body)

    @property
    def code(self) -> str:
        return (self.xml.findtext("Code") or "") if self.body.startswith(b"<?xml") else ""

    @property
    def message(self) -> str:
        return (self.xml.findtext("Message") or "") if self.body.startswith(b"<?xml") else ""

    @property
    def etag(self) -> str:
        return self.headers["etag"]


@dataclass
class Call:
    """One request before it is signed. ``sign``: header, query or nothing; ``age`` in seconds; ``path`` is decoded."""

    method: str = "GET"
    path: str = f"/{BUCKET}/k"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    sign: str = "header"
    token: Token = OBJECT_TOKEN
    region: str = "auto"
    age: float = 0
    expires: int = 900
    length: bool = True
    connection: int = 1


class _HeaderAuth(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        forced = request.context.get("forced_payload")
        return str(forced if forced is not None else super().payload(request))


def signed(call: Call, host: str = HOST, at: float | None = None) -> tuple[str, str, dict[str, str]]:
    """Raw path, raw query and headers, signed by botocore ``call.age`` seconds before ``at`` (None: now)."""
    url = f"https://{host}{quote(call.path, safe='/~')}" + (f"?{call.query}" if call.query else "")
    headers = dict(call.headers)
    forced = headers.pop("x-amz-content-sha256", None)
    request = AWSRequest(method=call.method, url=url, headers=headers, data=call.body if call.sign == "header" else b"")
    request.context["client_config"] = None
    request.context["forced_payload"] = forced
    credentials = Credentials(call.token.access_key, call.token.secret)
    then = datetime.datetime.fromtimestamp(time.time() if at is None else at, datetime.UTC)
    then -= datetime.timedelta(seconds=call.age)
    with patch("botocore.auth.get_current_datetime", lambda *_, **__: then.replace(tzinfo=None)):
        if call.sign == "header":
            _HeaderAuth(credentials, "s3", call.region).add_auth(request)
        elif call.sign == "query":
            S3SigV4QueryAuth(credentials, "s3", call.region, expires=call.expires).add_auth(request)
    parts = urlsplit(str(request.url))
    return parts.path, parts.query, {"host": host, **{name.lower(): value for name, value in request.headers.items()}}


class Lab:
    """A front and ways to ask it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.front: Front = service.front

    async def __call__(self, method: str = "GET", path: str = f"/{BUCKET}/k", **call: Any) -> Answer:
        """Sign and send; see ``Call`` for what may be said."""
        request = Call(method, path, **call)
        raw_path, raw_query, headers = signed(request)
        if request.length and (request.body or method in ("PUT", "POST")):
            headers.setdefault("content-length", str(len(request.body)))
        return await self.raw(method, raw_path, raw_query, headers, request.body, connection=request.connection)

    async def raw(
        self,
        method: str,
        raw_path: str,
        raw_query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        connection: int = 1,
    ) -> Answer:
        """Send exactly this."""
        return await ask(self.front, method, raw_path, raw_query, headers or {}, body, connection)

    def without(self, *numbers: int) -> None:
        """Switch rules off."""
        self.front.behave(replace(self.front.behaviour, rules_off=frozenset(numbers)))


@dataclass
class _Connection:
    number: int
    gone: bool = False
    body_waits: bool = False

    def abort(self) -> None:
        """Nothing to abort here."""


async def ask(
    front: Front,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    body: bytes,
    connection: int = 1,
    block: int = 1 << 16,
) -> Answer:
    """One ASGI exchange."""
    scope = {
        "type": "http",
        "method": method,
        "raw_path": raw_path.encode("latin-1"),
        "path": raw_path,
        "query_string": raw_query.encode("latin-1"),
        "headers": [(name.encode("latin-1"), value.encode()) for name, value in headers.items()],
        "extensions": {"parity.r2.connection": {"connection": _Connection(connection)}},
    }
    blocks = [body[start : start + block] for start in range(0, len(body), block)] or [b""]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        # The loop may turn to another request here, as it may while bytes are on their way.
        await asyncio.sleep(0)
        data = blocks.pop(0) if blocks else b""
        return {"type": "http.request", "body": data, "more_body": bool(blocks)}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await front(scope, receive, send)
    if not sent:
        return Answer(0, {}, b"")
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))


@asynccontextmanager
async def lab(settings: R2Settings) -> AsyncIterator[Lab]:
    async with running(settings) as service:
        yield Lab(service)
