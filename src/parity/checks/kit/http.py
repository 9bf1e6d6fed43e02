"""The one HTTP client of the checks: trusts the stack's CA, keeps what was said."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

BODY_KEPT = 2000
HIDDEN = frozenset({"authorization", "cookie", "set-cookie"})
DEFAULT_TIMEOUT_S = 30.0


@dataclass
class Recorder:
    """Requests and answers of one check, newest last; goes into the folder of a failure."""

    exchanges: list[dict[str, Any]] = field(default_factory=list)

    def add(self, request: httpx.Request, answer: httpx.Response | None, error: str = "") -> None:
        entry: dict[str, Any] = {
            "method": request.method,
            "url": str(request.url),
            "request_headers": _shown(request.headers),
        }
        if answer is not None:
            entry |= {"status": answer.status_code, "response_headers": _shown(answer.headers)}
            entry["body"] = answer.text[:BODY_KEPT] if _is_text(answer) else f"{len(answer.content)} bytes"
        if error:
            entry["error"] = error
        self.exchanges.append(entry)


def _shown(headers: httpx.Headers) -> dict[str, str]:
    return {name: "(hidden)" if name in HIDDEN else value for name, value in headers.items()}


def _is_text(answer: httpx.Response) -> bool:
    kind = answer.headers.get("content-type", "")
    return kind.startswith("text/") or "json" in kind or "xml" in kind or not kind


class Http:
    """Requests to the API (relative paths) and to any URL of the stack, such as presigned ones (absolute)."""

    def __init__(self, client: httpx.AsyncClient, recorder: Recorder) -> None:
        self._client, self._recorder = client, recorder

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """The whole answer. Raises ``httpx.HTTPError`` when none comes."""
        request = self._client.build_request(method, url, **options)
        try:
            answer = await self._client.send(request)
        except httpx.HTTPError as error:
            self._recorder.add(request, None, repr(error))
            raise
        self._recorder.add(request, answer)
        return answer


@asynccontextmanager
async def http(base_url: str, ca: Path | None, recorder: Recorder) -> AsyncIterator[Http]:
    """``ca``: the only authority that is trusted; None trusts what everybody trusts."""
    async with httpx.AsyncClient(
        base_url=base_url, verify=ssl_context(ca), timeout=DEFAULT_TIMEOUT_S, trust_env=False, follow_redirects=False
    ) as client:
        yield Http(client, recorder)


def ssl_context(ca: Path | None) -> ssl.SSLContext:
    """For HTTP and WebSockets alike."""
    return ssl.create_default_context(cafile=ca)
