"""The stack as a check uses it: HTTP clients for the app, and the admin API of the stand-ins."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from parity.checks import patience
from parity.checks.doing import DOING
from parity.checks.secrecy import hidden_headers
from parity.config.project import Project
from parity.contract import PINNED, Refused, StubCall
from parity.stack.target import Target
from parity.wraps import DOES

ADMIN_TIMEOUT_S = 240.0
APP_TIMEOUT_S = 40.0
BODY_KEPT = 2000
# How a server is made to believe that people reach it by https, although the edge speaks plain http to it.
TRUST = (
    'Make the server trust the edge\'s X-Forwarded-Proto (uvicorn: --proxy-headers --forwarded-allow-ips="*";'
    " hypercorn: wrap the app in hypercorn.middleware.ProxyFixMiddleware; WSGI: werkzeug's ProxyFix)"
)
# The error for a request to the app over plain http, to which only a redirect or a URL of the app can have led.
MIXED = f"the app leads there, and a browser blocks it as mixed content: an https page may not use plain http. {TRUST}"
EVENTS = "text/event-stream"


class StackError(Exception):
    """The stack did not do what a check needs. The check ends as an error, which says nothing about the app."""


@dataclass(frozen=True, eq=False)
class Site:
    """Where a run takes place: the target's addresses, the project's configuration, and the origin of the page."""

    target: Target
    project: Project
    # The origin of the page; None where page and API have the same origin.
    origin: str | None

    @property
    def live(self) -> bool:
        return self.target.driver == "live"

    @property
    def health(self) -> str:
        """The path of the health check; empty where there is none."""
        return self.project.health_path

    @property
    def probe_timeout_s(self) -> float:
        """How long Fly waits for the answer of a health check: the shortest timeout of fly.toml."""
        return min([one.timeout_s for one in self.project.fly.service.checks], default=5.0)


@dataclass
class Stack:
    """One check's view of the stack. ``said``: the requests to the app with their answers, oldest first."""

    site: Site
    http: httpx.AsyncClient
    said: list[dict[str, Any]] = field(default_factory=list)
    # Logs of destroyed Machines, by id.
    logs: dict[str, list[str]] = field(default_factory=dict)
    # The Machines of a check that runs apart from others, oldest first; None: it uses those that are there.
    own: list[str] | None = None
    # Whether requests to the app say what the contract does (parity.checks.doing), for a broken variant.
    says: bool = False
    _clients: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return self.site.target

    async def admin(self, method: str, path: str, body: object = None, timeout_s: float = ADMIN_TIMEOUT_S) -> Any:
        """Send a request to the stand-ins' admin API, and return the JSON of its answer; None for an empty one.

        Raises ``StackError`` when the API refuses the request or does not answer within ``timeout_s`` seconds.
        """
        if self.target.admin_url is None:
            raise StackError("a deployed app has no admin API: mark the check live only if it needs none")
        # An idle connection may have been closed meanwhile; a request of these methods may then be sent once more.
        again = method in ("GET", "PUT", "DELETE")
        while True:
            try:
                answer = await self.http.request(method, self.target.admin_url + path, json=body, timeout=timeout_s)
                break
            except httpx.HTTPError as error:
                if not (again and isinstance(error, httpx.ReadError | httpx.WriteError | httpx.RemoteProtocolError)):
                    raise StackError(f"the admin API does not answer {method} {path}: {error!r}") from None
                again = False
        if answer.is_error:
            raise StackError(f"admin {method} {path}: {answer.status_code} {answer.text[:400]}")
        return answer.json() if answer.content else None

    async def stub_calls(self, stub: str) -> list[StubCall]:
        """The requests that the app sent to a stub of parity.toml, oldest first.

        Raises ``StackError`` for a stub that parity.toml does not declare.
        """
        declared = self.site.project.parity.stubs
        if stub not in declared:
            raise StackError(f"parity.toml declares no stub {stub!r}; known: {', '.join(declared) or 'none'}")
        found = await self.admin("GET", "/services/calls")
        return [
            StubCall(one["method"], one["path"], one["body"], one["status"]) for one in found if one["stub"] == stub
        ]

    @asynccontextmanager
    async def r2_behaviour(self, **fields: object) -> AsyncIterator[None]:
        """Set these fields of ``POST /r2/behaviour`` (``latency``, ``write_window`` …), and restore them at the end."""
        before = await self.admin("GET", "/r2/behaviour")
        await self.admin("POST", "/r2/behaviour", fields)
        try:
            yield
        finally:
            await self.admin("POST", "/r2/behaviour", {name: before[name] for name in fields})

    def client(self) -> httpx.AsyncClient:
        """A new HTTP client with its own cookies, as another browser. Its requests are recorded in ``said``."""
        self._clients.append(made := client(self.target, self.said, says=self.says))
        return made

    async def close(self) -> None:
        """Close every client."""
        for one in (*self._clients, self.http):
            await one.aclose()


def client(target: Target, said: list[dict[str, Any]], *, says: bool = False) -> httpx.AsyncClient:
    """An HTTP client for the app and the stand-ins that trusts the stack's CA, or public CAs for a deployed app.

    With ``says``, requests to the app say what the contract does.

    A request to the app over plain http raises ``Refused``, because a browser blocks it. Only a redirect or a URL of
    the app can have led there.
    """
    api = httpx.URL(target.api_url)

    async def ask(request: httpx.Request) -> None:
        if (api.scheme, request.url.scheme) == ("https", "http") and request.url.netloc == api.netloc:
            raise Refused(f"{request.method} {request.url}", 0, MIXED)
        if says and request.url.netloc == api.netloc and (doing := DOING.get()):
            request.headers[DOES.decode()] = doing
        if target.admin_url is None or not str(request.url).startswith(target.admin_url):
            entry: dict[str, Any] = {
                "asked": f"{request.method} {request.url}",
                "machine": request.headers.get(PINNED),
                "headers": hidden_headers(request.headers.items()),
                "answer": None,
            }
            said.append(entry)
            request.extensions["entry"] = entry

    async def answered(response: httpx.Response) -> None:
        if (entry := response.request.extensions.get("entry")) is not None:
            entry |= {
                "answer": response.status_code,
                "answer_headers": hidden_headers(response.headers.multi_items()),
                "body": await _shown(response),
            }

    hooks: dict[str, list[Any]] = {"request": [ask], "response": [answered]}
    return httpx.AsyncClient(
        base_url=target.api_url,
        verify=ssl_context(target.ca),
        timeout=patience.limit(APP_TIMEOUT_S),
        event_hooks=hooks,
        trust_env=False,
    )


_CONTEXTS: dict[Path | None, ssl.SSLContext] = {}


def ssl_context(ca: Path | None) -> ssl.SSLContext:
    """The TLS context for HTTP and WebSockets. It is cached for each CA, because loading public CAs takes 30 ms."""
    if ca not in _CONTEXTS:
        _CONTEXTS[ca] = ssl.create_default_context(cafile=ca)
    return _CONTEXTS[ca]


async def _shown(answer: httpx.Response) -> str:
    """What evidence keeps of the body. That of an event stream is left to whoever asked: it may never end."""
    if answer.headers.get("content-type", "").startswith(EVENTS):
        return "an event stream"
    await answer.aread()
    return answer.text[:BODY_KEPT] if _is_text(answer) else f"{len(answer.content)} bytes"


def _is_text(answer: httpx.Response) -> bool:
    kind = answer.headers.get("content-type", "")
    return not kind or kind.startswith("text/") or "json" in kind or "xml" in kind
