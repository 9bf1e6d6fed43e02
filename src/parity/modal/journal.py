"""The RPC log: the last RPCs, counts, and RPCs that are not implemented."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

_KEPT = 2000


@dataclass
class Entry:
    """One RPC; ``outcome`` is ok, replayed, a gRPC status or cancelled; ``caller`` a container's id or client."""

    at: float
    rpc: str
    caller: str
    client_version: str
    attempt: str
    outcome: str = "ok"


@dataclass
class Journal:
    """A bounded log, with totals since the start."""

    recent: deque[Entry] = field(default_factory=lambda: deque(maxlen=_KEPT))
    counts: Counter[str] = field(default_factory=Counter)
    unserved: Counter[str] = field(default_factory=Counter)

    def record(self, rpc: str, caller: str, client_version: str, attempt: str) -> Entry:
        entry = Entry(time.time(), rpc, caller, client_version, attempt)
        self.recent.append(entry)
        self.counts[rpc] += 1
        return entry

    def clear(self) -> None:
        for part in (self.recent, self.counts, self.unserved):
            part.clear()

    def as_dict(self) -> dict[str, Any]:
        return {
            "counts": dict(self.counts),
            "unserved": dict(self.unserved),
            "recent": [asdict(entry) for entry in self.recent],
        }
