"""Faults on request: which requests, how often, what happens. Deciding is pure; ``front`` acts."""

from __future__ import annotations

import fnmatch
import itertools
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

DROPS = ("before", "after")
FIELDS = ("key", "operation", "count", "rate", "status", "code", "delay", "drop", "cut", "skew")


class FaultError(ValueError):
    """A fault that makes no sense; the message names the field."""


@dataclass(slots=True)
class Fault:
    """``key`` is a shell pattern of keys, ``operation`` an S3 operation's name or empty for all; ``count`` how often
    it still fires (``None``: always), ``rate`` with which probability.

    What happens: ``delay`` seconds of waiting first; ``skew`` seconds that R2's clock is ahead; ``status`` (with
    ``code``) is answered instead; ``drop`` closes the connection ``before`` or ``after`` the operation took effect;
    ``cut`` closes it after that many bytes of the answer's body.
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

    def matches(self, operation: str, key: str) -> bool:
        if self.count is not None and self.fired >= self.count:
            return False
        return self.operation in ("", operation) and fnmatch.fnmatchcase(key, self.key)

    def to_json(self) -> dict[str, object]:
        return asdict(self)


_CODES = {
    400: "InvalidArgument",
    401: "Unauthorized",
    403: "AccessDenied",
    404: "NoSuchKey",
    408: "RequestTimeout",
    409: "OperationAborted",
    412: "PreconditionFailed",
    429: "ServiceUnavailable",
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
    if not (status or fault.delay or drop or fault.cut is not None or fault.skew):
        raise FaultError("nothing would happen: give status, delay, drop, cut or skew")
    return fault


@dataclass(slots=True)
class FaultTable:
    """The faults that are set, in the order in which they came. The first that matches a request fires."""

    chance: random.Random = field(default_factory=random.Random)
    faults: list[Fault] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, data: Mapping[str, object], operations: frozenset[str]) -> Fault:
        fault = parse_fault(data, f"fault-{next(self._ids)}", operations)
        self.faults.append(fault)
        return fault

    def take(self, operation: str, key: str) -> Fault | None:
        """The fault of this request, counted as fired."""
        for fault in self.faults:
            if fault.matches(operation, key) and (fault.rate >= 1 or self.chance.random() < fault.rate):
                fault.fired += 1
                return fault
        return None

    def remove(self, id_: str | None = None) -> list[Fault]:
        """The fault of that id, or all; they are returned with how often each fired."""
        gone = [fault for fault in self.faults if id_ is None or fault.id == id_]
        self.faults = [fault for fault in self.faults if fault not in gone]
        return gone
