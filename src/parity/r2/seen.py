"""The request log of the stand-in, with what each request would have cost on R2."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

# The list prices of R2's standard storage, in dollars (cloudflare-docs r2/pricing, September 2026).
CLASS_A_PER_MILLION = 4.50
CLASS_B_PER_MILLION = 0.36
STORAGE_PER_GB_MONTH = 0.015
FREE_A, FREE_B, FREE_GB = 1_000_000, 10_000_000, 10
KEPT_REQUESTS = 20_000
# Headers that carry the id of the API request for which the backend called R2. The first one present counts.
REQUEST_ID_HEADERS = ("x-request-id", "fly-request-id")


@dataclass(slots=True)
class Seen:
    """One request. ``time``: seconds since the epoch; ``seconds``: its duration. ``status`` is 0 when the connection
    ended without an answer, and ``unsent`` is then the status of the answer that a fault withheld. ``bytes_in`` counts
    the body up to the answer. ``prefix`` is that of a list, or the common prefix of the keys of a DeleteObjects."""

    time: float
    method: str
    bucket: str
    key: str
    operation: str
    billing: str
    status: int = 0
    code: str = ""
    rule: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    request_id: str = ""
    client: str = ""
    presigned: bool = False
    fault: str = ""
    warning: str = ""
    unsent: int = 0
    prefix: str = ""

    @property
    def place(self) -> str:
        """The key; for requests without a key, the prefix that they concern."""
        return self.key or self.prefix

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def is_billed(status: int) -> bool:
    """R2 bills the requests that it processed, including failed preconditions and bad requests, but neither refused
    authentication (401, 403) nor its own failures."""
    return status in range(200, 500) and status not in (401, 403, 429)


def dollars(class_a: int, class_b: int) -> float:
    return class_a * CLASS_A_PER_MILLION / 1e6 + class_b * CLASS_B_PER_MILLION / 1e6


@dataclass(slots=True)
class Tally:
    """Counts of one group of requests."""

    requests: int = 0
    class_a: int = 0
    class_b: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)

    def add(self, seen: Seen) -> None:
        self.requests += 1
        if is_billed(seen.unsent or seen.status):
            self.class_a += seen.billing == "A"
            self.class_b += seen.billing == "B"
        self.bytes_in += seen.bytes_in
        self.bytes_out += seen.bytes_out
        self.statuses[seen.status] += 1
        self.operations[seen.operation] += 1

    def to_json(self) -> dict[str, object]:
        return {
            "requests": self.requests,
            "class_a": self.class_a,
            "class_b": self.class_b,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "dollars": dollars(self.class_a, self.class_b),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "operations": dict(sorted(self.operations.items())),
        }


class SeenLog:
    """The last requests, and totals since the start or the last ``clear``."""

    def __init__(self) -> None:
        self.requests: deque[Seen] = deque(maxlen=KEPT_REQUESTS)
        self.total = Tally()
        self.by_prefix: dict[str, Tally] = {}

    def add(self, seen: Seen) -> None:
        self.requests.append(seen)
        self.total.add(seen)
        self.by_prefix.setdefault(prefix_of(seen.place), Tally()).add(seen)

    def clear(self) -> None:
        self.requests.clear()
        self.total = Tally()
        self.by_prefix.clear()

    def to_json(self, limit: int, matching: Mapping[str, str]) -> dict[str, object]:
        """The newest ``limit`` requests whose fields equal ``matching``, oldest first. ``prefix`` is compared with the
        key, or with the prefix of a list."""
        found = [seen for seen in self.requests if _is(seen, matching)]
        return {
            "requests": [seen.to_json() for seen in found[-limit:]],
            "total": self.total.to_json(),
            "by_prefix": {prefix: tally.to_json() for prefix, tally in sorted(self.by_prefix.items())},
        }


def _is(seen: Seen, matching: Mapping[str, str]) -> bool:
    return all(
        seen.place.startswith(value) if name == "prefix" else str(getattr(seen, name)) == value
        for name, value in matching.items()
    )


def prefix_of(key: str) -> str:
    """The first segment of a key, which is the APP_ENV of its writer; empty for requests without a key."""
    first, slash, _ = key.partition("/")
    return first if slash else ""
