"""Faults that the admin API arms: one table of kinds. Each counts how often it fired, so that an unused one can be
found."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from grpclib import Status
from modal_proto import api_pb2 as pb

Kind = Literal["rpc", "function", "result", "container", "worker", "blob"]

# kind → the fields it reads beside `times`, and what it does.
KINDS: Final[dict[str, tuple[frozenset[str], str]]] = {
    "rpc": (
        frozenset({"target", "status", "message", "delay_s", "when", "retry_after_s"}),
        "an RPC by name, or * : status is a gRPC status name or RESET; when is before (default) or after it was done",
    ),
    "function": (
        frozenset({"target", "status", "message", "delay_s"}),
        "a function's next input: status is a result such as FAILURE, TIMEOUT, INTERNAL_FAILURE, or EXPIRED or LOST",
    ),
    "result": (
        frozenset({"target", "fields"}),
        "a function's next result that is a dict: fields gives names with values, null removes one, * all of them",
    ),
    "container": (frozenset({"target", "delay_s"}), "SIGKILL to the container that takes the function's next input"),
    "worker": (frozenset(), "the worker loses all its containers and its connection, then comes back; fires at once"),
    "blob": (frozenset({"target", "status"}), "an HTTP answer with this status: target is GET or PUT"),
}


class BadFault(ValueError):
    """A fault that cannot be armed; the message says why."""


@dataclass(eq=False)
class Fault:
    """One armed fault. ``times`` is what is left, −1 for ever; ``fired`` is how often it took effect."""

    id: int
    kind: Kind
    target: str = "*"
    status: str = ""
    message: str = ""
    delay_s: float = 0.0
    when: Literal["before", "after"] = "before"
    retry_after_s: float = 0.0
    fields: Mapping[str, Any] = field(default_factory=dict)
    times: int = 1
    fired: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Faults:
    """All armed and spent faults, in the order in which they were armed."""

    armed: list[Fault] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, spec: Mapping[str, object]) -> Fault:
        """Arm a fault. Raises BadFault, naming the field."""
        fault = parse_fault(spec, next(self._ids))
        self.armed.append(fault)
        return fault

    def clear(self, id_: str | None = None) -> list[Fault]:
        """Disarm everything, or the one with ``id_``; returns what was armed, with its counts."""
        cleared = [fault for fault in self.armed if id_ is None or str(fault.id) == id_]
        self.armed = [fault for fault in self.armed if fault not in cleared]
        return cleared

    def take(self, kind: Kind, target: str) -> Fault | None:
        """The first fault that applies, counted as fired."""
        for fault in self.armed:
            if fault.kind == kind and fault.times != 0 and fault.target in ("*", target):
                fault.times -= fault.times > 0
                fault.fired += 1
                return fault
        return None


def parse_fault(spec: Mapping[str, object], fault_id: int) -> Fault:
    """Check a fault's fields against the table. Raises BadFault."""
    kind = spec.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadFault(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
    known = KINDS[kind][0] | {"kind", "times"}
    unknown = sorted(set(spec) - known)
    if unknown:
        raise BadFault(f"{', '.join(unknown)}: not for kind {kind}, which takes {', '.join(sorted(known))}")
    for name, types, form in (
        ("target", str, "a string"), ("status", str, "a string"), ("message", str, "a string"),
        ("delay_s", (int, float), "seconds"), ("retry_after_s", (int, float), "seconds"), ("times", int, "a number"),
        ("fields", dict, "an object"),
    ):  # fmt: skip
        if name in spec and (not isinstance(spec[name], types) or isinstance(spec[name], bool)):
            raise BadFault(f"{name}: {spec[name]!r} is not {form}")
    fault = Fault(fault_id, **dict(spec))  # type: ignore[arg-type]
    if fault.when not in ("before", "after"):
        raise BadFault(f"when: {fault.when!r} is not before or after")
    _check_status(fault)
    return fault


def _check_status(fault: Fault) -> None:
    service = pb.DESCRIPTOR.services_by_name["ModalClient"]
    if fault.kind == "rpc":
        if fault.target != "*" and fault.target not in service.methods_by_name:
            raise BadFault(f"target: {fault.target!r} is not an RPC of Modal's")
        allowed = ["RESET", *Status.__members__] + ([""] if fault.delay_s else [])
    elif fault.kind == "function":
        prefix = "GENERIC_STATUS_"
        allowed = ["EXPIRED", "LOST", *(name.removeprefix(prefix) for name in pb.GenericResult.GenericStatus.keys())]  # noqa: SIM118
    elif fault.kind == "result":
        if not fault.fields:
            raise BadFault(
                'fields is empty: nothing would change; expected {"NAME": value}, where null removes a field'
            )
        return
    elif fault.kind == "blob":
        if fault.target not in ("*", "GET", "PUT"):
            raise BadFault(f"target: {fault.target!r} is not GET or PUT")
        allowed = [str(code) for code in range(400, 600)]
    else:
        return
    if fault.status not in allowed:
        some = ", ".join(allowed) if len(allowed) < 40 else "400 to 599"
        raise BadFault(f"status: {fault.status!r} is not one of {some}")
