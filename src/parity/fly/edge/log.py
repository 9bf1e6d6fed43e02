"""A ring buffer of the last requests, for ``GET /fly/requests``."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from parity.fly.edge.headers import Headers
from parity.fly.edge.request import Request

CAPACITY = 500


def _text(headers: Headers) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]


@dataclass(slots=True)
class Entry:
    """One exchange. Times are milliseconds after ``received`` (Unix seconds); None: it did not come to that.

    ``replay_cache`` says what the replay caches did, such as ``hit`` or ``stored by session``.
    """

    id: str
    received: float
    protocol: str
    method: str
    target: str
    client: str
    websocket: bool
    to_app: Headers = field(default_factory=list)
    status: int | None = None
    to_client: Headers = field(default_factory=list)
    machines: list[str] = field(default_factory=list)
    assigned_ms: float | None = None
    head_ms: float | None = None
    end_ms: float | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    outcome: str = "open"
    close_code: int | None = None
    replay_cache: str = ""

    def as_json(self) -> dict[str, object]:
        """The admin API's form; headers as lists of name and value, in order."""
        return {
            "id": self.id,
            "received": self.received,
            "protocol": self.protocol,
            "method": self.method,
            "target": self.target,
            "client": self.client,
            "websocket": self.websocket,
            "machine": self.machines[-1] if self.machines else None,
            "machines": self.machines,
            "request_headers": _text(self.to_app),
            "status": self.status,
            "response_headers": _text(self.to_client),
            "assigned_ms": self.assigned_ms,
            "head_ms": self.head_ms,
            "end_ms": self.end_ms,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "outcome": self.outcome,
            "close_code": self.close_code,
            "replay_cache": self.replay_cache,
        }


def entry_of(request: Request, request_id: bytes, received: float) -> Entry:
    """The entry of a request that has just come in."""
    return Entry(
        request_id.decode(),
        received,
        request.origin.protocol.decode(),
        request.method.decode("latin-1"),
        request.target.decode("latin-1"),
        request.origin.client_ip.decode(),
        request.websocket,
    )


class RequestLog:
    """The last ``CAPACITY`` exchanges, oldest first, open ones included."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=CAPACITY)

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)

    def entries(self) -> list[Entry]:
        return list(self._entries)

    def clear(self) -> None:
        self._entries.clear()
