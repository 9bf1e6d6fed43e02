"""The reply of an operation, before it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from parity.r2 import xml
from parity.r2.errors import R2Error

Headers = list[tuple[str, str]]


@dataclass(slots=True)
class Reply:
    """``length`` is the length of the body, which HEAD declares without sending it. ``rule`` is the rule that refused
    the request."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes | AsyncIterator[bytes] = b""
    length: int | None = None
    cors: bool = True
    rule: int = 0
    code: str = ""

    @property
    def content_length(self) -> int:
        if self.length is not None:
            return self.length
        return len(self.body) if isinstance(self.body, bytes) else 0


def xml_reply(root: str, content: list[str], headers: Headers | None = None) -> Reply:
    return Reply(200, [("Content-Type", "application/xml"), *(headers or [])], xml.document(root, content))


def error_reply(error: R2Error, *, head: bool) -> Reply:
    """The error as a reply; HEAD and 304 have no body."""
    headers = list(error.headers.items())
    if head or error.status == 304:
        return Reply(error.status, headers, cors=error.cors, rule=error.rule, code=error.code)
    body = xml.error_document(error)
    headers.append(("Content-Type", "application/xml"))
    return Reply(error.status, headers, body, cors=error.cors, rule=error.rule, code=error.code)
