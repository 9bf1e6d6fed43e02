"""Faults on request: which requests they match, how often, and what they do. This module decides and ``front`` acts.

A fault that matches a request is bound to it. It counts as fired once its effect has happened to that request: the
status was answered, the connection dropped, bytes withheld, or the skew changed the verdict. When the request is
refused before that, the fault is released for the next one.
"""

from __future__ import annotations

import fnmatch
import itertools
import random
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from types import TracebackType

from parity.r2.answers import BUSY
from parity.r2.errors import R2Error
from parity.r2.seen import Seen

DROPS = ("before", "after")
# The operation name of a CORS preflight; a fault matches preflights only when it names this operation.
PREFLIGHT = "OPTIONS"
# Seconds of the Retry-After that R2 sends to a client that wrote too fast (rule 1).
RETRY_AFTER = {429: 5}
FIELDS = ("key", "operation", "count", "rate", "status", "code", "delay", "drop", "cut", "skew")


class FaultError(ValueError):
    """An invalid fault; the message names the field."""


@dataclass(slots=True)
class Fault:
    """``key`` is a shell pattern of keys (for lists, of the prefix). ``operation`` is the name of an S3 operation, or
    empty for all but preflights. ``count`` is how often it may still fire (``None``: without limit), ``rate`` its
    probability.

    Its effect: ``delay`` seconds of waiting, then at most one of these. ``skew``: R2's clock is that many seconds
    ahead. ``status`` (with ``code``): this error is the answer. ``drop``: the connection is closed ``before`` or
    ``after`` the operation took effect. ``cut``: it is closed after that many bytes of the answer's body.
    """

    id: str
    key: str = "*"
    operation: str = ""
    count: int | None = 1
    rate: float = 1.0
    status: int | None = None
    code: str = ""
    delay: float = 0.0
    drop: str = ""
    cut: int | None = None
    skew: float = 0.0
    fired: int = 0
    # Requests in progress that it is bound to.
    bound: int = 0

    def meets(self, operation: str) -> bool:
        """Whether the fault may still fire for that operation."""
        if self.count is not None and self.fired + self.bound >= self.count:
            return False
        return self.operation == operation or (not self.operation and operation != PREFLIGHT)

    def names(self, keys: Collection[str]) -> bool:
        return any(fnmatch.fnmatchcase(key, self.key) for key in keys)

    @property
    def effects(self) -> list[str]:
        """The names of its effects other than waiting."""
        there = {
            "skew": bool(self.skew),
            "status": self.status is not None,
            "drop": bool(self.drop),
            "cut": self.cut is not None,
        }
        return [name for name, is_there in there.items() if is_there]

    def to_json(self) -> dict[str, object]:
        return {name: value for name, value in asdict(self).items() if name != "bound"}


class Strike:
    """The fault that is bound to one request, or ``None``. Each method says whether an effect happens now, and counts
    it. Leaving the context releases a fault that did not fire, for another request."""

    __slots__ = ("_fault", "_happened", "_seen")

    def __init__(self, fault: Fault | None, seen: Seen | None) -> None:
        self._fault, self._seen, self._happened = fault, seen, False

    def __enter__(self) -> Strike:
        if self._fault is not None:
            self._fault.bound += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._fault is not None and not self._happened:
            self._fault.bound -= 1

    def _happens(self, fault: Fault) -> None:
        fault.fired += 1
        fault.bound -= 1
        self._happened = True
        if self._seen is not None:
            self._seen.fault = fault.id

    def delay(self) -> float:
        """Seconds to wait."""
        fault = self._fault
        if fault is None or not fault.delay:
            return 0.0
        if not fault.effects:
            self._happens(fault)
        return fault.delay

    @property
    def skew(self) -> float:
        return 0.0 if self._fault is None else self._fault.skew

    def skewed(self) -> None:
        """Count the fault as fired: the skew changed a verdict."""
        if self._fault is not None:
            self._happens(self._fault)

    def refusal(self) -> R2Error | None:
        fault = self._fault
        if fault is None or fault.status is None:
            return None
        self._happens(fault)
        seconds = RETRY_AFTER.get(fault.status)
        headers = {} if seconds is None else {"Retry-After": str(seconds)}
        return R2Error(fault.status, fault.code, f"Fault {fault.id} on request.", headers=headers)

    def drops(self, when: str) -> bool:
        fault = self._fault
        if fault is None or fault.drop != when:
            return False
        self._happens(fault)
        return True

    def cut(self, length: int) -> int | None:
        """The number of bytes after which a body of that length is cut, or ``None``."""
        fault = self._fault
        if fault is None or fault.cut is None or fault.cut >= length:
            return None
        self._happens(fault)
        return fault.cut


NO_STRIKE = Strike(None, None)


_CODES = {
    400: "InvalidArgument",
    401: "Unauthorized",
    403: "AccessDenied",
    404: "NoSuchKey",
    408: "RequestTimeout",
    409: "OperationAborted",
    412: "PreconditionFailed",
    429: BUSY.code,
    500: "InternalError",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}


def _number(data: Mapping[str, object], name: str, low: float, high: float) -> float | None:
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise FaultError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")
    return float(value)


def _whole(data: Mapping[str, object], name: str, low: int, high: int) -> int | None:
    value = _number(data, name, low, high)
    if value is not None and value != int(value):
        raise FaultError(f"{name} must be a whole number, not {value:g}")
    return None if value is None else int(value)


def _text(data: Mapping[str, object], name: str, default: str) -> str:
    value = data.get(name, default)
    if not isinstance(value, str):
        raise FaultError(f"{name} must be a text, not {value!r}")
    return value


def parse_fault(data: Mapping[str, object], id_: str, operations: frozenset[str]) -> Fault:
    """A fault of the admin API. ``count`` absent is 1, or without limit where ``rate`` is given. Raises FaultError."""
    unknown = sorted(set(data) - set(FIELDS))
    if unknown:
        raise FaultError(f"unknown field {unknown[0]!r}; known: {', '.join(FIELDS)}")
    operation = _text(data, "operation", "")
    if operation and operation not in operations:
        raise FaultError(f"operation {operation!r} does not exist; known: {', '.join(sorted(operations))}")
    drop = _text(data, "drop", "")
    if drop and drop not in DROPS:
        raise FaultError(f"drop must be before or after, not {drop!r}")
    rate = _number(data, "rate", 0, 1)
    count = _whole(data, "count", 1, 1_000_000)
    status = _whole(data, "status", 400, 599)
    fault = Fault(
        id_,
        _text(data, "key", "*"),
        operation,
        count if count is not None or rate is not None else 1,
        1.0 if rate is None else rate,
        status,
        _text(data, "code", _CODES.get(status or 0, "InternalError") if status else ""),
        _number(data, "delay", 0, 3600) or 0.0,
        drop,
        _whole(data, "cut", 0, 1 << 40),
        _number(data, "skew", -1e9, 1e9) or 0.0,
    )
    if not fault.effects and not fault.delay:
        raise FaultError("nothing would happen: give status, delay, drop, cut or skew")
    if len(fault.effects) > 1:
        raise FaultError(f"{' and '.join(fault.effects)} do not both happen to one request: set a fault for each")
    return fault


@dataclass(slots=True)
class FaultTable:
    """The faults that are set, in the order in which they were added."""

    chance: random.Random = field(default_factory=random.Random)
    faults: list[Fault] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, data: Mapping[str, object], operations: frozenset[str]) -> Fault:
        fault = parse_fault(data, f"fault-{next(self._ids)}", operations)
        self.faults.append(fault)
        return fault

    def wants_keys(self, operation: str) -> bool:
        """Whether some fault for that operation matches by key, so that the request's keys must be known."""
        return any(fault.key != "*" and fault.meets(operation) for fault in self.faults)

    def strike(self, operation: str, keys: Collection[str], seen: Seen | None = None) -> Strike:
        """Bind the first matching fault to a request for these keys."""
        for fault in self.faults:
            if fault.meets(operation) and fault.names(keys) and (fault.rate >= 1 or self.chance.random() < fault.rate):
                return Strike(fault, seen)
        return NO_STRIKE

    def remove(self, id_: str | None = None) -> list[Fault]:
        """Remove the fault with that id, or all; returns them with how often each fired."""
        gone = [fault for fault in self.faults if id_ is None or fault.id == id_]
        self.faults = [fault for fault in self.faults if fault not in gone]
        return gone
